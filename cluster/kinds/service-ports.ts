/** What the ports of a Service must be. In upstream's words. */
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { dnsLabelProblem, qualifiedNameProblem } from './names.ts';
import { portErrors } from './probe-validate.ts';
import type { ServicePort, ServiceSpec } from './types/core.ts';

const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];
/** Of the node agent: who may say where it is reached from outside may not say that it is elsewhere. */
const AGENT_PORT = 10250;

export function servicePortErrors({ type, clusterIP, ports = [] }: ServiceSpec): FieldError[] {
  const errors = ports.length === 0 && clusterIP !== 'None' && type !== 'ExternalName' ? [required('spec.ports')] : [];
  const taken = { name: new Set<string>(), port: new Set<string>(), nodePort: new Set<string>() };
  for (const [index, port] of ports.entries()) {
    const at = `spec.ports[${index}]`;
    const { name, port: number, nodePort, protocol } = port;
    const isTaken = (what: keyof typeof taken, value: string): boolean => {
      const found = taken[what].has(value);
      taken[what].add(value);
      return found;
    };
    if (type === 'LoadBalancer' && number === AGENT_PORT)
      errors.push(invalid(at, number, `may not expose port ${AGENT_PORT} externally since it is used by kubelet`));
    errors.push(...onePortErrors(port, at, ports.length > 1));
    if (name && isTaken('name', name)) errors.push(duplicate(`${at}.name`, name));
    if (nodePort && type === 'ClusterIP')
      errors.push(forbidden(`${at}.nodePort`, "may not be used when `type` is 'ClusterIP'"));
    if (nodePort && isTaken('nodePort', `${protocol}/${nodePort}`)) errors.push(duplicate(`${at}.nodePort`, nodePort));
    if (isTaken('port', `${protocol}/${number}`)) errors.push(duplicate(at, { port: number, protocol }));
  }
  return errors;
}

function onePortErrors(port: ServicePort, at: string, isOneOfSeveral: boolean): FieldError[] {
  const { name, port: number, protocol = '', targetPort, appProtocol } = port;
  const errors: FieldError[] = !name && isOneOfSeveral ? [required(`${at}.name`)] : [];
  const problem = name ? dnsLabelProblem(name) : undefined;
  if (problem !== undefined) errors.push(invalid(`${at}.name`, name, problem));
  if (!(number >= 1 && number <= 65535))
    errors.push(invalid(`${at}.port`, number, 'must be between 1 and 65535, inclusive'));
  if (!PROTOCOLS.includes(protocol)) errors.push(notSupported(`${at}.protocol`, protocol, PROTOCOLS));
  if (targetPort !== undefined) errors.push(...portErrors(targetPort, `${at}.targetPort`));
  const wrong = appProtocol === undefined ? undefined : qualifiedNameProblem(appProtocol);
  if (wrong !== undefined) errors.push(invalid(`${at}.appProtocol`, appProtocol, wrong));
  return errors;
}
