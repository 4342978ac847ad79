/**
 * Fills Secrets of the type `kubernetes.io/service-account-token` with a token that does not expire, and removes those whose
 * account is gone (Kubernetes "Secrets", "ServiceAccount token Secrets").
 */
import { orUndefined } from '../client/api-errors.ts';
import type { Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { secrets as secretResource, serviceAccounts } from '../kinds/resources.ts';
import type { Secret, ServiceAccount } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { keyOf, openInformer, splitKey } from './objects.ts';

const TYPE = 'kubernetes.io/service-account-token';
const ACCOUNT = 'kubernetes.io/service-account.name';
const ACCOUNT_UID = 'kubernetes.io/service-account.uid';
const CLAIM = 'kubernetes.io/serviceaccount/';

export interface TokenSigner {
  sign(claims: Record<string, unknown>): Promise<string>;
  /** PEM, of the API server's authority. */
  ca: string;
}

export function createServiceAccountTokens({ sign, ca }: TokenSigner): Controller {
  let secrets: Informer<Secret>;
  let accounts: Informer<ServiceAccount>;
  const isOurs = (secret: Secret) => secret.type === TYPE;
  const ofAccount = (account: Stored<ServiceAccount>) =>
    secrets.byIndex('account', `${account.metadata.namespace}/${account.metadata.name}`);
  return {
    name: 'serviceaccount-token',
    async start(context, enqueue) {
      accounts = openInformer(context, serviceAccounts);
      secrets = openInformer(context, secretResource, {
        account: (secret) =>
          isOurs(secret) ? [`${secret.metadata.namespace}/${secret.metadata.annotations?.[ACCOUNT] ?? ''}`] : [],
      });
      secrets.onChange((now) => {
        if (now && isOurs(now)) enqueue(keyOf(now.metadata));
      });
      accounts.onChange((now, old) => {
        const account = now ?? old;
        if (account) for (const { metadata } of ofAccount(account)) enqueue(keyOf(metadata));
      });
      await Promise.all([secrets.synced, accounts.synced]);
      for (const secret of secrets.list().filter(isOurs)) enqueue(keyOf(secret.metadata));
    },
    keys: () =>
      secrets
        .list()
        .filter(isOurs)
        .map(({ metadata }) => keyOf(metadata)),
    async reconcile(key, { client }) {
      const { namespace, name } = splitKey(key);
      const secret = secrets.get(name, namespace);
      if (!secret || !isOurs(secret) || secret.metadata.deletionTimestamp !== undefined) return;
      const accountName = secret.metadata.annotations?.[ACCOUNT] ?? '';
      const account = accounts.get(accountName, namespace) ?? (await read(client, accountName, namespace));
      const uid = secret.metadata.annotations?.[ACCOUNT_UID];
      if (!account || (uid !== undefined && uid !== account.metadata.uid)) {
        const preconditions = { uid: secret.metadata.uid, resourceVersion: secret.metadata.resourceVersion };
        await client.delete(secretResource, name, { namespace, preconditions });
        return;
      }
      const encoded = (text: string) => Buffer.from(text).toString('base64');
      const wanted = { 'ca.crt': encoded(ca), namespace: encoded(namespace) };
      const complete =
        uid !== undefined &&
        secret.data?.['token'] !== undefined &&
        Object.entries(wanted).every(([field, value]) => secret.data?.[field] === value);
      if (complete) return;
      const token =
        secret.data?.['token'] ??
        encoded(
          await sign({
            iss: 'kubernetes/serviceaccount',
            sub: `system:serviceaccount:${namespace}:${accountName}`,
            [`${CLAIM}namespace`]: namespace,
            [`${CLAIM}secret.name`]: name,
            [`${CLAIM}service-account.name`]: accountName,
            [`${CLAIM}service-account.uid`]: account.metadata.uid,
          }),
        );
      await client.update(secretResource, {
        ...secret,
        metadata: {
          ...secret.metadata,
          annotations: { ...secret.metadata.annotations, [ACCOUNT_UID]: account.metadata.uid },
        },
        data: { ...secret.data, ...wanted, token },
      });
    },
  };
}

/** The copy may lag behind an account that was just made. */
async function read(
  client: Parameters<Controller['reconcile']>[1]['client'],
  name: string,
  namespace: string,
): Promise<Stored<ServiceAccount> | undefined> {
  return name === '' ? undefined : await orUndefined(client.get(serviceAccounts, name, namespace));
}
