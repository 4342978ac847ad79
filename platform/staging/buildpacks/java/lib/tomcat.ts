/** Tomcat for a war: the platform ships it as a runtime; the layer `tomcat` has its configuration. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { declareLayer, RuntimeLacks } from '../../../lifecycle/program.ts';
import { askRuntimes, isMounted, offeredRuntimes } from '../../../lifecycle/runtimes.ts';
import { AppError, detail } from '../../../lifecycle/words.ts';
import type { Application } from './application.ts';

/** Of Tomcat's own. */
const CLASSES = 4_000;

/** @returns the arguments of `java` */
export function installTomcat(layers: string, { directory }: Application): { start: string; classes: number } {
  const offer = offeredRuntimes('tomcat').at(-1);
  if (offer === undefined) {
    throw new AppError('this platform offers no Tomcat: push a war that starts by itself, as Spring Boot makes it');
  }
  if (!isMounted(offer.name)) throw new RuntimeLacks(offer.name, 'the war needs Tomcat: beginning again with it');
  // So that the app gets it too, also where nothing showed before the build that it is needed.
  askRuntimes(layers, [offer.name]);
  detail(`Tomcat ${offer.version}`);
  const base = join(layers, 'tomcat');
  rmSync(base, { recursive: true, force: true });
  // It complains of a base that is not there, though nothing is to be found in it.
  for (const name of ['conf', 'webapps']) mkdirSync(join(base, name), { recursive: true });
  writeFileSync(join(base, 'conf', 'server.xml'), serverXml(directory));
  writeFileSync(join(base, 'conf', 'web.xml'), WEB_XML);
  writeFileSync(join(base, 'conf', 'logging.properties'), LOGGING);
  declareLayer(layers, 'tomcat', { launch: true }, {});
  const home = `/usr/share/${offer.name.replace('-', '')}`;
  const start = [
    `-Djava.util.logging.config.file=${base}/conf/logging.properties`,
    '-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager',
    `-Dcatalina.home=${home} -Dcatalina.base=${base} -Djava.io.tmpdir=/tmp -Dport=$PORT`,
    '--add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.io=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED',
    `-cp ${home}/bin/bootstrap.jar:${home}/bin/tomcat-juli.jar org.apache.catalina.startup.Bootstrap start`,
  ];
  return { start: start.join(' '), classes: CLASSES };
}

/** The router ends TLS and says whom it speaks for; what Tomcat writes goes to /tmp. */
function serverXml(directory: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<Server port="-1">
  <Service name="Catalina">
    <Connector port="\${port}" protocol="HTTP/1.1" connectionTimeout="20000" bindOnInit="false" />
    <Engine name="Catalina" defaultHost="localhost">
      <Valve className="org.apache.catalina.valves.RemoteIpValve" protocolHeader="x-forwarded-proto" internalProxies=".*" />
      <Host name="localhost" appBase="webapps" autoDeploy="false" deployOnStartup="false" workDir="/tmp/tomcat" createDirs="false" failCtxIfServletStartFails="true">
        <Valve className="org.apache.catalina.valves.ErrorReportValve" showServerInfo="false" showReport="false" />
        <Context path="" docBase="${directory}" />
      </Host>
    </Engine>
  </Service>
</Server>
`;
}

const LOGGING = `handlers = java.util.logging.ConsoleHandler
.handlers = java.util.logging.ConsoleHandler
java.util.logging.ConsoleHandler.level = FINE
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
`;

const TYPES: Readonly<Record<string, string>> = {
  css: 'text/css',
  gif: 'image/gif',
  htm: 'text/html',
  html: 'text/html',
  ico: 'image/x-icon',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  js: 'text/javascript',
  json: 'application/json',
  map: 'application/json',
  pdf: 'application/pdf',
  png: 'image/png',
  svg: 'image/svg+xml',
  txt: 'text/plain',
  wasm: 'application/wasm',
  webp: 'image/webp',
  woff2: 'font/woff2',
  xml: 'application/xml',
};

/** What every web application gets: files, JSP, welcome pages. */
const WEB_XML = `<?xml version="1.0" encoding="UTF-8"?>
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">
  <servlet>
    <servlet-name>default</servlet-name>
    <servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class>
    <load-on-startup>1</load-on-startup>
  </servlet>
  <servlet>
    <servlet-name>jsp</servlet-name>
    <servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class>
    <init-param><param-name>development</param-name><param-value>false</param-value></init-param>
    <load-on-startup>3</load-on-startup>
  </servlet>
  <servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
  <servlet-mapping>
    <servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern><url-pattern>*.jspx</url-pattern>
  </servlet-mapping>
  <session-config><session-timeout>30</session-timeout></session-config>
${Object.entries(TYPES)
  .map(
    ([extension, type]) =>
      `  <mime-mapping><extension>${extension}</extension><mime-type>${type}</mime-type></mime-mapping>`,
  )
  .join('\n')}
  <welcome-file-list>
    <welcome-file>index.html</welcome-file><welcome-file>index.htm</welcome-file><welcome-file>index.jsp</welcome-file>
  </welcome-file-list>
</web-app>
`;
