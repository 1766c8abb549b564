/**
 * @file Search: coordinates are read here, and names of places by the geocoder that the operator may have named.
 */

const MOST_RESULTS = 5;
const DEADLINE_MS = 10_000;

/**
 * Reads a place: "42.39, -73.52", "42.39 N 73.52 W", or degrees with minutes and seconds, latitude first unless letters
 * say otherwise.
 *
 * @param {string} text
 * @returns {{lat: number, lng: number} | null}
 */
export function readCoordinates(text) {
  const part = String.raw`([NSEWO]?)\s*([-+]?\d+(?:[.,]\d+)?)\s*(?:°\s*(?:(\d+(?:[.,]\d+)?)\s*['′]\s*(?:(\d+(?:[.,]\d+)?)\s*["″]\s*)?)?)?([NSEWO]?)`;
  const found = new RegExp(`^\\s*${part}\\s*[,;/\\s]\\s*${part}\\s*$`, "i").exec(text);
  if (!found) return null;
  const [one, other] = [found.slice(1, 6), found.slice(6, 11)].map(([before, degrees, minutes, seconds, after]) => {
    const letter = (before || after).toUpperCase().replace("O", "W");
    const [d, m, s] = [degrees, minutes ?? "0", seconds ?? "0"].map((number) => Number(number.replace(",", ".")));
    const size = Math.abs(d) + m / 60 + s / 3600;
    const isNegative = letter ? "SW".includes(letter) : degrees.startsWith("-");
    return { letter, value: isNegative ? -size : size };
  });
  const isSwapped = "EW".includes(one.letter) && one.letter !== "";
  const [lat, lng] = isSwapped ? [other.value, one.value] : [one.value, other.value];
  return Math.abs(lat) <= 90 && Math.abs(lng) <= 180 ? { lat, lng } : null;
}

/**
 * Asks the geocoder, which answers like Nominatim (a list with lat, lon, display_name) or with GeoJSON points.
 *
 * @param {string} template  with {query}
 * @param {string} query
 * @returns {Promise<{name: string, lat: number, lng: number}[]>}
 * @throws {Error} it does not answer
 */
export async function findPlaces(template, query) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), DEADLINE_MS);
  try {
    const url = template.replace("{query}", encodeURIComponent(query));
    const response = await fetch(url, { credentials: "omit", signal: controller.signal });
    if (!response.ok) throw new Error(String(response.status));
    const answer = await response.json();
    return (Array.isArray(answer) ? answer.map(ofNominatim) : (answer.features ?? []).map(ofGeoJson))
      .filter(({ lat, lng }) => Number.isFinite(lat) && Number.isFinite(lng))
      .slice(0, MOST_RESULTS);
  } finally {
    clearTimeout(timer);
  }
}

function ofNominatim({ lat, lon, display_name: name }) {
  return { name: String(name), lat: Number(lat), lng: Number(lon) };
}

function ofGeoJson({ geometry, properties = {} }) {
  const [lng, lat] = geometry?.coordinates ?? [];
  const name = properties.display_name ?? properties.label ?? [properties.name, properties.city].filter(Boolean).join(", ");
  return { name: String(name), lat, lng };
}
