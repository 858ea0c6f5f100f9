// Runs scenes in one browser. Most of a scene is waiting, so two run at once.
const scenes = [];
const lanes = 2;

/** `alone`: it measures time, or uses what all scenes share, such as the clipboard. No other scene runs at the time. */
export function scene(name, play, { seconds = 60, alone = false } = {}) {
  scenes.push({ name, play, seconds, alone });
}

/** Waits until a condition is true, and returns its value. */
export async function until(what, condition, seconds = 15) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function within(seconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Plays a scene, and returns whether it was good. */
async function playOne(world, { name, play, seconds }) {
  const started = Date.now();
  const stage = world(name);
  let good = true;
  const report = (result) => `${result.padEnd(5)} ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`;
  const attempt = async (run) => {
    try {
      await run();
    } catch (error) {
      good = false;
      console.log(`${report('FAIL')}\n${String(error.stack ?? error).replace(/^/gm, '      ')}`);
    }
  };
  await attempt(async () => {
    await within(seconds, play(stage));
    await stage.check();
  });
  if (!good) await stage.explain();
  if (good) await attempt(() => stage.clear());
  else await stage.clear().catch(() => {});
  if (good) console.log(report('ok'));
  return good;
}

/** Runs every scene whose name contains `only`. `world` creates and removes the resources of a scene. */
export async function playAll(world, only) {
  const wanted = scenes.filter(({ name }) => name.includes(only));
  let passed = 0;
  const playInTurn = async (queue) => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) if (await playOne(world, next)) passed += 1;
  };
  const together = wanted.filter(({ alone }) => !alone);
  await Promise.all(Array.from({ length: lanes }, () => playInTurn(together)));
  await playInTurn(wanted.filter(({ alone }) => alone));
  const failed = wanted.length - passed;
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}
