/**
 * @file The panel of tools: search, opacity, saving and embedding the view, and the server's other maps.
 */

/* global L */

import { findPlaces, readCoordinates } from "./places.js";
import { say } from "./words.js";

const byId = (id) => document.getElementById(id);

/**
 * @param {import("./config.js").Config} config
 * @param {L.Map} map
 * @param {{left: import("./sides.js").Side, right: import("./sides.js").Side}} sides
 * @param {L.LatLngBounds} ground  where there is a photo
 */
export function setUpTools(config, map, sides, ground) {
  const panel = byId("tools");
  const button = byId("open-tools");
  const open = (isOpen) => {
    panel.hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) fill();
  };
  const fill = () => {
    byId("embed").value = embedCode(config);
    writeDownloads(map, sides);
  };
  button.addEventListener("click", () => open(panel.hidden));
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    open(false);
    button.focus();
  });
  map.on("moveend", () => panel.hidden || fill());
  for (const side of Object.values(sides)) side.addEventListener("change", () => panel.hidden || fill());
  byId("opacity").addEventListener("input", ({ target }) => {
    for (const side of Object.values(sides)) side.setOpacity(Number(target.value) / 100);
  });
  setUpSearch(config, map, ground);
  listMaps(config);
}

function setUpSearch(config, map, ground) {
  const results = byId("results");
  byId("query").placeholder = say(config.geocoder ? "search_places" : "search_coordinates");
  const go = ({ lat, lng }) => {
    if (!ground.contains([lat, lng])) return tell(say("search_outside"));
    map.setView([lat, lng], Math.max(map.getZoom(), config.native_zoom - 1), { animate: false });
    return tell("");
  };
  const tell = (text) => {
    results.replaceChildren(...(text ? [document.createTextNode(text)] : []));
  };
  byId("search").addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = byId("query").value.trim();
    if (!query) return;
    const place = readCoordinates(query);
    if (place) return go(place);
    if (!config.geocoder) return tell(say("search_unreadable"));
    try {
      const found = await findPlaces(config.geocoder, query);
      if (found.length === 0) return tell(say("search_nothing"));
      results.replaceChildren(
        ...found.map((one) => {
          const button = L.DomUtil.create("button", "result");
          button.type = "button";
          button.textContent = one.name;
          button.addEventListener("click", () => go(one));
          return button;
        }),
      );
    } catch {
      tell(say("search_failed"));
    }
  });
}

/** The page in a frame of another page. */
function embedCode(config) {
  const title = config.name.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
  return `<iframe src="${location.href.replaceAll("&", "&amp;")}" title="${title}" width="800" height="500" style="border:0" allowfullscreen></iframe>`;
}

/** Addresses of the view as a file, of what each side shows; none where the file would be too large. */
function writeDownloads(map, sides) {
  const bounds = map.getBounds();
  const box = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()].map((one) => one.toFixed(7));
  const size = map.getSize();
  byId("save-note").textContent = say("save_note");
  for (const [id, side] of Object.entries(sides)) {
    const { native_zoom: zoom, max_image_px: most, layers, url } = side.config;
    const longest = Math.ceil(Math.max(size.x, size.y) * 2 ** (zoom - map.getZoom()));
    const canSave = layers.includes("old") && longest <= most; // archives have tiles only
    if (layers.includes("old") && !canSave) byId("save-note").textContent = say("save_large", { longest, most });
    byId(`save-${id}`).hidden = !canSave;
    for (const kind of canSave ? ["zip", "tif"] : []) {
      byId(`save-${id}-${kind}`).href = new URL(`${side.layer}/view.${kind}?bbox=${box}`, url);
    }
  }
}

/** Links to the pages of the server's other maps, where they are not years of this one. */
function listMaps(config) {
  const others = config.maps.filter((one) => one.id !== config.id && !(config.years.length > 1 && config.years.includes(one)));
  byId("maps").hidden = others.length === 0;
  byId("map-list").append(
    ...others.map((one) => {
      const link = document.createElement("a");
      link.href = one.url;
      link.textContent = one.name;
      const item = document.createElement("li");
      item.append(link);
      return item;
    }),
  );
}
