/** Lists of users: all that the caller sees, those of an organization, those of a space. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { User } from '../resources/types.ts';
import type { ApiRequest, Context, Reply } from './api.ts';
import { badQuery, listReply } from './listing.ts';
import { presentUser } from './present/tenancy.ts';

export function listUsers(context: Context, request: ApiRequest, items: Stored<User>[]): Reply {
  if (request.query.has('usernames') && request.query.has('partial_usernames')) {
    throw badQuery('Only one of the parameters usernames and partial_usernames can be given');
  }
  return listReply(context, request, {
    items,
    present: (user) => presentUser(context.urls, user),
    filters: {
      usernames: (item, values) => values.some((value) => value.toLowerCase() === item.spec.username.toLowerCase()),
      partial_usernames: (item, values) =>
        values.some((value) => item.spec.username.toLowerCase().includes(value.toLowerCase())),
      origins: (item, values) => values.includes(item.spec.origin),
    },
    orders: { username: (item) => item.spec.username },
    userLabels: (item) => item.spec.userMetadata?.labels ?? {},
  });
}
