/** All endpoints of the cloud controller, as data: what is served, what the reference page shows, what tests walk over. */
import type { Context, Endpoint } from './api.ts';
import { appEnvironmentEndpoints } from './endpoints/app-environment.ts';
import { appEndpoints } from './endpoints/apps.ts';
import { buildEndpoints } from './endpoints/builds.ts';
import { buildpackEndpoints } from './endpoints/buildpacks.ts';
import { certificateEndpoints } from './endpoints/certificates.ts';
import { deploymentEndpoints } from './endpoints/deployments.ts';
import { domainEndpoints } from './endpoints/domains.ts';
import { dropletEndpoints } from './endpoints/droplets.ts';
import { environmentGroupEndpoints } from './endpoints/environment-groups.ts';
import { eventEndpoints } from './endpoints/events.ts';
import { featureEndpoints } from './endpoints/features.ts';
import { featureFlagEndpoints } from './endpoints/feature-flags.ts';
import { isolationSegmentEndpoints } from './endpoints/isolation-segments.ts';
import { manifestEndpoints } from './endpoints/manifests.ts';
import { networkPolicyEndpoints } from './endpoints/network-policies.ts';
import { organizationEndpoints } from './endpoints/organizations.ts';
import { packageEndpoints } from './endpoints/packages.ts';
import { platformEndpoints } from './endpoints/platform.ts';
import { processEndpoints } from './endpoints/processes.ts';
import { quotaEndpoints } from './endpoints/quotas.ts';
import { revisionEndpoints } from './endpoints/revisions.ts';
import { rootEndpoints } from './endpoints/root.ts';
import { routeDestinationEndpoints } from './endpoints/route-destinations.ts';
import { routeUseEndpoints } from './endpoints/route-use.ts';
import { routeSharingEndpoints } from './endpoints/route-sharing.ts';
import { routeEndpoints } from './endpoints/routes.ts';
import { routingEndpoints } from './endpoints/routing.ts';
import { serviceBindingEndpoints } from './endpoints/service-bindings.ts';
import { serviceBrokerEndpoints } from './endpoints/service-brokers.ts';
import { serviceInstanceEndpoints } from './endpoints/service-instances.ts';
import { serviceOfferingEndpoints } from './endpoints/service-offerings.ts';
import { servicePlanEndpoints } from './endpoints/service-plans.ts';
import { serviceRouteBindingEndpoints } from './endpoints/service-route-bindings.ts';
import { serviceSharingEndpoints } from './endpoints/service-sharing.ts';
import { securityGroupEndpoints } from './endpoints/security-groups.ts';
import { segmentChoiceEndpoints } from './endpoints/segment-choices.ts';
import { sidecarEndpoints } from './endpoints/sidecars.ts';
import { spaceEndpoints } from './endpoints/spaces.ts';
import { taskEndpoints } from './endpoints/tasks.ts';
import { usageEventEndpoints } from './endpoints/usage-events.ts';
import { userEndpoints } from './endpoints/users.ts';
import { whyEndpoints } from './endpoints/why.ts';

export function endpointTable(context: Context): Endpoint[] {
  return [
    ...rootEndpoints(context),
    ...organizationEndpoints(context),
    ...spaceEndpoints(context),
    ...quotaEndpoints(context),
    ...isolationSegmentEndpoints(context),
    ...segmentChoiceEndpoints(context),
    ...domainEndpoints(context),
    ...certificateEndpoints(context),
    ...securityGroupEndpoints(context),
    ...networkPolicyEndpoints(context),
    ...appEndpoints(context),
    ...appEnvironmentEndpoints(context),
    ...featureEndpoints(context),
    ...environmentGroupEndpoints(context),
    ...packageEndpoints(context),
    ...buildEndpoints(context),
    ...dropletEndpoints(context),
    ...processEndpoints(context),
    ...sidecarEndpoints(context),
    ...routeEndpoints(context),
    ...routeDestinationEndpoints(context),
    ...routeSharingEndpoints(context),
    ...routeUseEndpoints(context),
    ...routingEndpoints(context),
    ...deploymentEndpoints(context),
    ...revisionEndpoints(context),
    ...taskEndpoints(context),
    ...serviceBrokerEndpoints(context),
    ...serviceOfferingEndpoints(context),
    ...servicePlanEndpoints(context),
    ...serviceInstanceEndpoints(context),
    ...serviceSharingEndpoints(context),
    ...serviceBindingEndpoints(context),
    ...serviceRouteBindingEndpoints(context),
    ...manifestEndpoints(context),
    ...eventEndpoints(context),
    ...whyEndpoints(context),
    ...usageEventEndpoints(context),
    ...userEndpoints(context),
    ...buildpackEndpoints(context),
    ...platformEndpoints(context),
    ...featureFlagEndpoints(context),
  ];
}
