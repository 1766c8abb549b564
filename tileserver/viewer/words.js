/**
 * @file The page's words, in the language of the browser: one file for each language in words/, which the server reads
 * for its error pages, too.
 */

/** Languages that there is a file for; the first is that of all others. */
const LANGUAGES = ["en", "de", "fr", "es"];

let words = null;

/**
 * Loads the first of the wanted languages that there is, once, and puts its words into the page: the text of elements
 * with `data-say`, and the labels of those with `data-say-label`.
 *
 * @param {readonly string[]} wanted  such as navigator.languages
 * @throws {Error} the server does not send them
 */
export async function loadWords(wanted) {
  if (words) return;
  const found = wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => LANGUAGES.includes(tag));
  const language = found ?? LANGUAGES[0];
  const response = await fetch(new URL(`words/${language}.json`, import.meta.url));
  if (!response.ok) throw new Error(String(response.status));
  words = await response.json();
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) {
    element.setAttribute("aria-label", say(element.dataset.sayLabel));
  }
}

/**
 * Returns a text with its values filled in.
 *
 * @param {string} key  of words/en.json
 * @param {Object<string, string | number>} values
 */
export function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
