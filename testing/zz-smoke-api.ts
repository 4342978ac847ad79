import { mkdtempSync, writeFileSync } from 'node:fs';
import { startControlPlane } from '/work/main/testing/control-plane.ts';
const plane = await startControlPlane();
const a = plane.address as Record<string,string>;
const b64 = (s: string) => Buffer.from(s).toString('base64');
writeFileSync('/tmp/smoke.kubeconfig', JSON.stringify({apiVersion:'v1',kind:'Config','current-context':'x',clusters:[{name:'x',cluster:{server:a.url,'certificate-authority-data':b64(a.ca!)}}],users:[{name:'x',user:{'client-certificate-data':b64(a.certificate!),'client-key-data':b64(a.key!)}}],contexts:[{name:'x',context:{cluster:'x',user:'x'}}]}));
console.log('ready', a.url, process.pid);
process.on('SIGTERM', () => plane.close().then(() => process.exit(0)));
setInterval(()=>{ if (plane.warnings.length) console.log(plane.warnings.splice(0)) }, 200);
