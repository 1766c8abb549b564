/**
 * @file The page's words, in the language of the browser: one file for each language in words/.
 */

import english from "./words/en.js";

/** Languages that there is a file for; the first is the one that words missing in another are taken from. */
const LANGUAGES = ["en", "de", "fr", "es"];

let words = english;

/**
 * Loads the first of the wanted languages that there is, and puts its words into the page: the text of elements with
 * `data-say`, and the labels of those with `data-say-label`.
 *
 * @param {readonly string[]} wanted  such as navigator.languages
 */
export async function loadWords(wanted) {
  const found = wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => LANGUAGES.includes(tag));
  if (found && found !== "en") {
    const { default: translated } = await import(`./words/${found}.js`);
    words = { ...english, ...translated };
  }
  document.documentElement.lang = found ?? "en";
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) {
    element.setAttribute("aria-label", say(element.dataset.sayLabel));
  }
}

/**
 * Returns a text with its values filled in.
 *
 * @param {string} key                        of words/en.js
 * @param {Object<string, string | number>} values
 */
export function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
