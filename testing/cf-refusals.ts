/** Commands of the stock `cf` that are to be refused: see `test/cf-commands.long.test.ts`. */

interface Known {
  domain: string;
  /** A directory with an app in it. */
  source: string;
}

function linesOf(text: string): string[] {
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim());
}

/** Of an app that is not there. */
export function ofNobody({ domain, source }: Known): string[] {
  return linesOf(`
    app
    rename nobody x
    start
    stop
    restart
    restage
    restart-app-instance nobody 0
    packages
    droplets
    events
    logs nobody --recent
    set-env nobody A b
    env
    unset-env nobody A
    ssh-enabled
    disable-ssh
    enable-ssh
    get-health-check
    set-health-check nobody port
    get-readiness-health-check
    scale nobody -i 2
    ssh
    download-droplet
    copy-source nobody bare
    set-droplet nobody x
    create-package nobody -p ${source}
    stage-package
    create-app-manifest
    run-task nobody -c x
    tasks
    task nobody 1
    terminate-task nobody 1
    cancel-deployment
    continue-deployment
    revisions
    revision nobody --version 1
    rollback nobody --version 1 -f
    cleanup-outdated-service-bindings nobody -f
    map-route nobody ${domain} --hostname x
    unmap-route nobody ${domain} --hostname x
    update-destination nobody ${domain} --hostname x
    add-network-policy nobody bare
    remove-network-policy nobody bare --protocol tcp --port 1
    network-policies --source nobody
  `).map((line) => (line.includes('nobody') ? line : `${line} nobody`));
}

/** What changes something. @param rules  a file with those of a security group */
export function changes({ domain, source, rules }: Known & { rules: string }): string[] {
  return linesOf(`
    create-org x
    delete-org default -f
    create-org-quota x
    create-space x
    delete-space dev -f
    rename-space dev x
    create-space-quota x
    disallow-space-ssh dev
    create-user x y
    create-app x
    push shop -p ${source}
    stop shop
    restart shop
    restage shop
    scale shop -i 2
    rename shop x
    delete shop -f
    set-env shop A b
    run-task shop -c x
    disable-ssh shop
    map-route shop ${domain} --hostname x
    create-route ${domain} --hostname x
    delete-route ${domain} --hostname shop -f
    create-user-provided-service x
    create-isolation-segment x
    enable-feature-flag diego_docker
    set-running-environment-variable-group '{"A":"b"}'
    create-shared-domain x.example.org
    delete-shared-domain ${domain} -f
    create-buildpack x ${source} 1
    update-buildpack nodejs_buildpack --disable
    delete-buildpack nodejs_buildpack -f
    create-security-group x ${rules}
    delete-security-group dns -f
    bind-running-security-group dns
    update-stack sampan --state disabled
    create-service-broker x y z https://broker.example.com
    set-label space dev a=b
  `);
}

/** What shows all that there is, and knows no word beside; and what succeeds where the name that it takes away is not there. */
export const WRONG_USE = linesOf(`
    version x
    stacks x
    marketplace x
    services x
    spaces x
    domains x
    router-groups x
    routes x
    delete-orphaned-routes x
    buildpacks x
    org-quotas x
    space-quotas x
    service-brokers x
    security-groups x
    staging-security-groups x
    running-security-groups x
    staging-environment-variable-group x
    running-environment-variable-group x
    isolation-segments x
    feature-flags x
    plugins x
    list-plugin-repos x
    create-app
    delete-service
    delete-private-domain
    delete-user
    delete-route
    delete-space-quota
    delete-isolation-segment
    delete-service-broker
    purge-service-instance
    purge-service-offering
    unbind-staging-security-group
    unbind-running-security-group
  `);
