/** bin/detect of the java buildpack, when there is something of Java's: asks for the JDK, and for Tomcat where a war needs it. */
import { existsSync, readFileSync } from 'node:fs';
import { offeredRuntimes, planRuntimes } from '../../../lifecycle/runtimes.ts';
import { chooseJava } from './version.ts';

const [, plan] = process.argv.slice(2);
if (plan === undefined) throw new Error('usage: detect PLATFORM PLAN');
const choice = chooseJava(process.env);
const tomcat = needsTomcat() ? offeredRuntimes('tomcat').at(-1)?.name : undefined;
const runtimes = [...('runtime' in choice ? [choice.runtime.name] : []), ...(tomcat === undefined ? [] : [tomcat])];
planRuntimes(plan, 'java', runtimes);

/** As far as it shows before the build; the build asks for it where it does not. */
function needsTomcat(): boolean {
  const manifest = 'META-INF/MANIFEST.MF';
  if (existsSync('WEB-INF')) return !(existsSync(manifest) && /^Main-Class:/m.test(readFileSync(manifest, 'utf8')));
  if (!existsSync('pom.xml')) return false;
  const pom = readFileSync('pom.xml', 'utf8');
  // Spring Boot's plugin makes wars that start by themselves.
  return /<packaging>\s*war\s*</.test(pom) && !pom.includes('spring-boot-maven-plugin');
}
