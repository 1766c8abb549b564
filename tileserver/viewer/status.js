/**
 * @file Says how far the map is, and what is wrong with the server, if anything.
 */

import { say } from "./words.js";

/** The note appears with a delay, so that it does not flicker when tiles load quickly. */
const DELAY_MS = 700;
const TROUBLE = ["busy", "unreachable", "offline"];

/**
 * Shows the state of the queue: as aria-busy on the map, and as text in a note.
 *
 * @param {import("./queue.js").RequestQueue} queue
 * @param {import("./sides.js").Side[]} sides
 * @param {{map: HTMLElement, note: HTMLElement, text: HTMLElement, retry: HTMLElement}} elements
 */
export function showStatus(queue, sides, { map, note, text, retry }) {
  let timer = 0;
  let frame = 0;
  const write = () => {
    clearTimeout(timer);
    timer = 0;
    const { server, pending, failed } = queue.state;
    const isTrouble = TROUBLE.includes(server);
    const said = isTrouble ? say(server) : pending ? progressOf(sides) : failedText(failed);
    if (text.textContent !== said) text.textContent = said;
    note.setAttribute("aria-live", isTrouble || !pending ? "polite" : "off"); // no screen reader reads every tile
    note.dataset.server = server;
    retry.hidden = !isTrouble && (pending > 0 || failed === 0);
    note.hidden = said === "";
  };
  const update = () => {
    frame = 0;
    const { pending } = queue.state;
    map.setAttribute("aria-busy", String(pending > 0));
    if (!pending || !note.hidden) write();
    else timer ||= setTimeout(write, DELAY_MS);
  };
  const schedule = () => (frame ||= requestAnimationFrame(update));
  for (const source of [queue, ...sides]) source.addEventListener("change", schedule);
  retry.addEventListener("click", () => queue.retry());
}

/** "Loading the photo: 8 of 24" until the photographs are whole, then "Restoring 14 of 24". */
function progressOf(sides) {
  // What both sides show counts once.
  const photos = new Map(sides.map((side) => [side.config, side.progress.photo]));
  const photo = sum([...photos.values()]);
  if (photo.done < photo.total) return say("loading", photo);
  const shown = sides.filter((side) => side.isRestored);
  const restored = sum(
    [...new Map(shown.map((side) => [`${side.config.root_path} ${side.layer}`, side])).values()].map(
      (side) => side.progress.top,
    ),
  );
  return restored.done < restored.total ? say("restoring", restored) : "";
}

function sum(counts) {
  return counts.reduce(
    (total, { done, total: all }) => ({ done: total.done + done, total: total.total + all }),
    { done: 0, total: 0 },
  );
}

function failedText(count) {
  if (!count) return "";
  return count === 1 ? say("failed_one") : say("failed_many", { count });
}
