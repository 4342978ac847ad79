/** Names of what containers ask for: Kubernetes' own, and those of others, which have a domain. */
import { qualifiedNameProblem } from './names.ts';

const OF_CONTAINERS = ['cpu', 'memory', 'ephemeral-storage'];

/** What is wrong with the name of something that a container asks for; undefined where nothing is. */
export function resourceNameProblem(name: string): string | undefined {
  const problem = qualifiedNameProblem(name);
  if (problem !== undefined) return problem;
  if (name.includes('/') || OF_CONTAINERS.includes(name) || name.startsWith('hugepages-')) return undefined;
  return 'must be a standard resource for containers';
}
