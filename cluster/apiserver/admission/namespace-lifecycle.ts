/** The namespaces that the cluster stands on are not deleted. (Nothing new in a namespace that goes: `namespaces.ts`.) */
import { namespaces } from '../../kinds/resources.ts';
import { forbidden } from '../errors.ts';
import { type AdmissionPlugin, isKind } from './plugin.ts';

const IMMORTAL = new Set(['default', 'kube-system', 'kube-public']);

export const namespaceLifecycle: AdmissionPlugin = {
  name: 'NamespaceLifecycle',
  validate(request) {
    if (request.operation === 'DELETE' && isKind(request, namespaces) && IMMORTAL.has(request.name))
      throw forbidden(request.kind, request.name, 'this namespace may not be deleted');
  },
};
