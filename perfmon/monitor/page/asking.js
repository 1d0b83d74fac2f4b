// Asks the daemon again and again: every two seconds, less often in a tab that nobody looks at, and less and less
// often while it does not answer; says so in the banner then. Instants are Unix seconds.

import { byId, setClass, setHidden, setText } from "./dom.js";
import { at } from "./format.js";

const EVERY_S = 2;
const EVERY_HIDDEN_S = 20; // the title and the icon of a tab in the background still tell
const BACK_OFF_MOST_S = 30;
const ANSWER_WITHIN_S = 10;

export const local = () => Date.now() / 1000;

// Begin. paths() says what to ask for, take(...answers) is given the answers, tick(silent) is called after each
// answer and each second. What is returned knows the daemon's clock, and when it last answered.
export function startAsking({ paths, take, tick }) {
  const state = { serverAhead: 0, answeredAt: null, failures: 0, silentSince: null, why: "", nextAt: 0, asking: false };
  let timer;

  async function ask() {
    if (state.asking) return;
    state.asking = true;
    const answers = await Promise.all(paths().map(get)).catch(miss);
    state.asking = false;
    if (answers) Object.assign(state, { answeredAt: local(), failures: 0, silentSince: null, serverAhead: answers[0].now - local() });
    timer = setTimeout(ask, 1000 * waitS()); // before anything is shown: a mistake there must not end the asking
    state.nextAt = local() + waitS();
    if (answers) take(...answers);
    turn();
  }

  function miss(error) {
    state.failures += 1;
    state.silentSince ??= state.answeredAt ?? local();
    state.why = error.message.startsWith("it answers") ? `: ${error.message}` : "";
  }

  function waitS() {
    if (state.failures) return Math.min(BACK_OFF_MOST_S, EVERY_S * 2 ** (state.failures - 1));
    return document.hidden ? EVERY_HIDDEN_S : EVERY_S;
  }

  function turn() {
    const silent = state.failures > 0;
    setHidden(byId("banner"), !silent);
    setClass(document.body, silent ? "silent" : "");
    if (silent) showSilence(state);
    tick(silent);
  }

  setInterval(turn, 1000);
  timer = setTimeout(ask, 0);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    clearTimeout(timer);
    ask();
  });
  return { now: () => local() + state.serverAhead, answeredAt: () => state.answeredAt };
}

// That something is not there is an answer, too.
async function get(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(1000 * ANSWER_WITHIN_S), cache: "no-store" });
  if (!answer.ok && answer.status !== 404) throw new Error(`it answers ${answer.status}`);
  return answer.json();
}

// The countdown stands apart, so that a screen reader says the rest once and not every second.
function showSilence({ silentSince, why, answeredAt, nextAt, asking }) {
  const below = answeredAt === null ? "" : " What is below is from then.";
  setText(byId("silence"), `perfmon does not answer since ${at(silentSince, local())}${why}.${below}`);
  const wait = Math.max(0, Math.ceil(nextAt - local()));
  setText(byId("again"), asking || wait === 0 ? "Asking again now." : `Asking again in ${wait} s.`);
}

// The same shapes and colours as the marks in page.css.
const ICONS = {
  up: '<circle cx="16" cy="16" r="12" fill="#1f8a55"/>',
  down: '<path d="M16 1 31 16 16 31 1 16z" fill="#d0342c"/>',
  firing: '<path d="M16 3 31 29H1z" fill="#c77d0a"/>',
  unknown: '<circle cx="16" cy="16" r="10" fill="none" stroke="#7b8087" stroke-width="5"/>',
  silent: '<path d="M5 5 27 27M27 5 5 27" stroke="#7b8087" stroke-width="5"/>',
};

// The address of a tab's icon.
export const icon = (name) => `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${ICONS[name]}</svg>`)}`;
