import { openEngine, purgeEngine } from '#engine/open.ts';
import { addBusyboxImage } from '#testing/busybox-image.ts';
const o={instance:'t3',dataDirectory:'/var/tmp/t3',runDirectory:'/run/t3',network:{podCidr:'10.99.3.0/24',clusterCidr:'10.99.0.0/16',serviceCidr:'10.98.0.0/16'},idRange:{first:65536*100,length:65536*50},sandboxPool:2};
const T=(n:string,t:number)=>console.log(n,(performance.now()-t).toFixed(1));
await purgeEngine(o);let t=performance.now();
const e=await openEngine(o); T('open',t);
console.log(e.info());
t=performance.now(); const image=await addBusyboxImage(e.images); T('image',t);
const say=async(id:string)=>{for await(const r of e.logs(id,{})) console.log('  |',r.stream,r.line.toString());};
for(let i=0;i<1;i++){
 t=performance.now();
 const s=await e.createSandbox({name:'s'+i,hostname:'h'}); T('sandbox',t); const t1=performance.now();
 const c=await e.createContainer({sandbox:s.id,name:'c',image,user:'app',command:['sh','-c','id; ls -la /home; df -h /; exit 130'],limits:{memoryBytes:64<<20,diskBytes:1<<30}});T('create',t1); const t2=performance.now();
 await e.startContainer(c.id); T('start',t2); T('total',t);
 console.log(await e.waitContainer(c.id)); if(i==0) await say(c.id);
 t=performance.now(); await e.removeSandbox(s.id); T('remove',t);
}
const s=await e.createSandbox({name:'x',hostname:'h'});
const c=await e.createContainer({sandbox:s.id,name:'c',image,command:['sleep','1000'],log:{path:'/var/tmp/t3/l/x.log',maxBytes:1e6,maxFiles:3}});
await e.startContainer(c.id);
t=performance.now();
const x=await e.exec(c.id,{command:['cat'],stdin:true}); T('exec',t); x.stdin!.end('hello\n'); console.log((await x.stdout.toArray()).toString(), await x.exited);
const y=await e.exec(c.id,{command:['sh','-c','stty size; tty; id; exit 7'],tty:true,size:{columns:111,rows:22}}); console.log((await y.stdout.toArray()).toString(), await y.exited);
const z=await e.exec(c.id,{command:['nope']}).catch(e=>e); console.log(String(z));
console.log(await e.stats(c.id), await e.sandboxStats(s.id), e.container(c.id));
t=performance.now(); await e.stopContainer(c.id,{graceSeconds:0}); T('stop',t); console.log(e.container(c.id)?.exit);
const b=await e.createContainer({sandbox:s.id,name:'bad',image,command:['/etc/not-executable']}); console.log(String(await e.startContainer(b.id).catch(e=>e)), e.container(b.id)?.exit);
await e.close(); await purgeEngine(o);
