// Runs all scenes, or those whose name contains the first argument.
import { playAll } from './lib/harness.mjs';
import { launch, makeWorld } from './lib/world.mjs';
import './scenes/conversation.mjs';
import './scenes/files.mjs';
import './scenes/identity.mjs';
import './scenes/network.mjs';
import './scenes/away.mjs';
import './scenes/appearance.mjs';
import './scenes/offline.mjs';
import './scenes/operator.mjs';
import './scenes/people.mjs';
import './scenes/load.mjs';
import './scenes/examples.mjs';

const browser = await launch();
let good = false;
try {
  good = await playAll(makeWorld(browser), process.argv[2] ?? '');
} finally {
  await browser.close();
}
process.exitCode = good ? 0 : 1;
