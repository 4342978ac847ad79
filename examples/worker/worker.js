const every = Number(process.env.INTERVAL_SECONDS ?? 5) * 1000;
let done = 0;

console.log(`worker ${process.env.CF_INSTANCE_INDEX ?? '0'} begins, one job each ${every / 1000} s`);
const timer = setInterval(() => console.log(`job ${++done} done`), every);

process.on('SIGTERM', () => {
  clearInterval(timer);
  console.log(`worker stops after ${done} jobs`);
});
