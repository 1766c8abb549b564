// Reads a PMTiles archive over HTTP with the JavaScript reader.
// Run: node read.mjs URL Z/X/Y ... ; prints one JSON document.
import { createHash } from "node:crypto";
import { FetchSource, PMTiles } from "pmtiles";

const [url, ...places] = process.argv.slice(2);
const archive = new PMTiles(new FetchSource(url));
const header = await archive.getHeader();
const tiles = {};
for (const place of places) {
  const [z, x, y] = place.split("/").map(Number);
  const found = await archive.getZxy(z, x, y);
  tiles[place] = found ? createHash("sha256").update(Buffer.from(found.data)).digest("hex") : null;
}
console.log(JSON.stringify({ header, metadata: await archive.getMetadata(), tiles }));
