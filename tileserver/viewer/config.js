/**
 * @file What the server says of itself (config.json), checked once so that the rest of the page can trust it.
 */

/**
 * @typedef {object} Config
 * @property {string} name            title of the source
 * @property {string} credit          whose photograph it is
 * @property {string} ai_notice       which model made the restored pictures
 * @property {string[]} layers        "old", "restored", "difference" and perhaps "new"
 * @property {Object<string, string>} tiles  layer -> absolute address with {z}, {x}, {y}
 * @property {number[]} bounds        west, south, east, north in degrees
 * @property {number[]} center        longitude, latitude, zoom
 * @property {number} minzoom         the server draws no tile further out
 * @property {number} maxzoom         the server draws no tile closer
 * @property {number} native_zoom     the zoom whose pixels are the network's own
 */

/**
 * Fetches and checks config.json beside the page.
 *
 * @param {string} pageUrl  the address of the page, which may lie under a path prefix
 * @returns {Promise<Config>}
 * @throws {Error} a sentence for the reader when the server does not answer, or answers something else
 */
export async function loadConfig(pageUrl) {
  const response = await fetch(new URL("config.json", pageUrl), { cache: "no-cache" });
  if (!response.ok) throw new Error(`The server answered ${response.status} when asked what it shows.`);
  const config = await response.json();
  for (const key of ["layers", "tiles", "bounds", "center", "minzoom", "maxzoom", "native_zoom"]) {
    if (config[key] === undefined) throw new Error(`The server's config.json has no '${key}'.`);
  }
  const tiles = config.layers.map((layer) => [layer, absoluteTemplate(config.tiles[layer], pageUrl)]);
  return { ...config, tiles: Object.fromEntries(tiles) };
}

/**
 * The absolute form of a tile address. `new URL()` alone would escape the braces, and would lose the
 * path prefix of a proxy that the server knows nothing of.
 *
 * @param {string} template  "/old/tiles/{z}/{x}/{y}.webp", with or without the prefix that the page has
 * @param {string} pageUrl
 * @returns {string}
 */
export function absoluteTemplate(template, pageUrl) {
  if (/^https?:\/\//.test(template)) return template;
  const folder = new URL(".", pageUrl);
  const inside = template.startsWith(folder.pathname)
    ? template.slice(folder.pathname.length)
    : template.replace(/^\//, "");
  return folder.origin + folder.pathname + inside;
}
