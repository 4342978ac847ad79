/** The node agent of a fixture, with its engine, in a process of its own. */
import type { ServiceNetwork } from '#cluster/network/services/services.ts';
import type { AgentApiFixture } from './agent-api-fixture.ts';
import type { AgentProcessOptions } from './agent-process.fixture.ts';
import { KillableProgram } from './killable.ts';

/** @param further.network  rules of services are kept too */
export function agentProcess(
  { engine, agent, transport }: AgentApiFixture,
  further: { network?: ServiceNetwork } = {},
): KillableProgram {
  const options: AgentProcessOptions = { engine, agent, transport, ...further };
  return new KillableProgram('agent-process.fixture.ts', options);
}
