/**
 * @file The page: a map with two layers of the same place, and a handle between them.
 */

import { backoff_ms } from "./backoff.js";
import { Beside } from "./beside.js";
import { find, labelSides, nameOf, setUpSelects } from "./chooser.js";
import { loadConfig } from "./config.js";
import { addButtons, makeMap, wholeOf } from "./controls.js";
import { labelOf, noticeOf } from "./layers.js";
import { format, parse } from "./permalink.js";
import { RequestQueue } from "./queue.js";
import { setUpShare } from "./share.js";
import { Side } from "./sides.js";
import { showStatus } from "./status.js";
import { Swipe } from "./swipe.js";
import { setUpTools } from "./tools.js";
import { loadWords, say } from "./words.js";
import { setUpYears } from "./years.js";

const byId = (id) => document.getElementById(id);

/** Writes name, credit and notice of the maps that are shown. */
function writeCaption(config, shown) {
  const distinct = (of) => [...new Set(shown.map(of).filter(Boolean))].join(" · ");
  document.title = `${config.name} · orthosharp`;
  byId("name").textContent = distinct((one) => one.name);
  byId("ai-notice").textContent = distinct(noticeOf);
  byId("credit").textContent = distinct((one) => one.credit);
}

async function start() {
  const config = await loadConfig(document.baseURI);
  byId("status").hidden = true;
  setUpShare(config);

  const map = makeMap(config);
  const ground = wholeOf(config);
  const queue = new RequestQueue();
  let swipe = null;
  const isHidden = (...where) => swipe !== null && swipe.hides(...where);
  const sides = { left: new Side(map, "left", queue, isHidden), right: new Side(map, "right", queue, isHidden) };
  const note = { map: byId("map"), note: byId("status"), text: byId("status-text"), retry: byId("retry") };
  showStatus(queue, Object.values(sides), note);
  for (const side of Object.values(sides)) side.addEventListener("change", () => labelSides(sides));
  const beside = new Beside(map, sides.right);

  const [lng, lat, zoom] = config.center;
  const nameOfOwn = (layer) => nameOf({ config, layer }, config);
  const first = { zoom, lat, lng, left: nameOfOwn(config.layers[0]), right: nameOfOwn("restored"), swipe: 50, beside: false };

  let isOpening = false;
  const changed = () => {
    const shown = [sides.left, sides.right];
    for (const [id, side] of Object.entries(sides)) byId(id).value = nameOf(side, config);
    swipe.describe(...shown.map((side) => labelOf(side.layer, side.config)));
    byId("legend").hidden = !shown.some((side) => side.layer === "difference");
    writeCaption(config, shown.map((side) => side.config));
    labelSides(sides);
    showYear();
    save();
  };
  const save = () => {
    if (isOpening) return;
    const { lat, lng } = map.getCenter();
    const place = { zoom: map.getZoom(), lat, lng, swipe: swipe.percent, beside: beside.isWanted };
    // replaceState, because moving the map must not fill the browser's history.
    history.replaceState(null, "", format({ ...place, left: nameOf(sides.left, config), right: nameOf(sides.right, config) }));
  };
  const showYear = setUpYears(config, sides, () => changed());
  const showWhole = () => map.fitBounds(ground, { animate: false });
  const open = (view) => {
    isOpening = true; // moving the map must not save a view that is half opened
    const wanted = Object.keys(sides).map((id) => find(view[id], config) ?? find(first[id], config) ?? find(config.layers[0], config));
    // What changes the map's size comes first: a map that is resized later moves by a fraction of a pixel.
    writeCaption(config, wanted.map((one) => one.config));
    const isSomewhere = ground.pad(0.5).contains([view.lat, view.lng]);
    byId("notice").hidden = isSomewhere;
    beside.isWanted = view.beside;
    map.invalidateSize({ animate: false });
    if (isSomewhere) map.setView([view.lat, view.lng], view.zoom, { animate: false });
    else showWhole();
    swipe ??= new Swipe(map, byId("handle"), { left: sides.left.element, right: sides.right.element });
    swipe.percent = view.swipe;
    swipe.isOff = beside.isOn;
    Object.values(sides).forEach((side, index) => side.show(wanted[index].config, wanted[index].layer));
    isOpening = false;
    changed();
  };

  setUpSelects(config, sides, changed);
  beside.addEventListener("change", () => {
    if (!swipe) return;
    swipe.isOff = beside.isOn;
    save();
  });
  open(parse(location.hash, first));
  addButtons(map, { whole: showWhole, beside });
  setUpTools(config, map, sides, ground);
  map.on("moveend", save);
  map.on("movestart", () => (byId("notice").hidden = isOpening ? byId("notice").hidden : true));
  swipe.addEventListener("change", save);
  window.addEventListener("hashchange", () => open(parse(location.hash, first)));
}

/** Starts, and tries again while the server does not answer. */
async function keepStarting(attempt) {
  try {
    await loadWords(navigator.languages);
  } catch {
    byId("status").hidden = false; // in the words of index.html
    setTimeout(keepStarting, backoff_ms(attempt), attempt + 1);
    return;
  }
  try {
    await start();
  } catch (error) {
    byId("status-text").textContent = say("no_start", { reason: error.message });
    byId("status").hidden = false;
    if (error.isTemporary) setTimeout(keepStarting, backoff_ms(attempt), attempt + 1);
  }
}

await keepStarting(1);
