// Runs scenes one after the other, in one browser.
const scenes = [];

export function scene(name, play, { seconds = 60 } = {}) {
  scenes.push({ name, play, seconds });
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

/** Runs every scene whose name contains `only`. `world` creates and removes the resources of a scene. */
export async function playAll(world, only) {
  let passed = 0;
  let failed = 0;
  for (const { name, play, seconds } of scenes) {
    if (!name.includes(only)) continue;
    const started = Date.now();
    const stage = world(name);
    const duration = () => ((Date.now() - started) / 1000).toFixed(1);
    let good = true;
    const attempt = async (run) => {
      try {
        await run();
      } catch (error) {
        good = false;
        console.log(`FAIL  ${name} (${duration()} s)\n${String(error.stack ?? error).replace(/^/gm, '      ')}`);
      }
    };
    await attempt(async () => {
      await within(seconds, play(stage));
      await stage.check();
    });
    if (!good) await stage.explain();
    if (good) await attempt(() => stage.clear());
    else await stage.clear().catch(() => {});
    if (good) console.log(`ok    ${name} (${duration()} s)`);
    if (good) passed += 1;
    else failed += 1;
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0;
}
