// The API key of a service that asks for one.

const NAME = "fashion_lenet.api_key"; // in the tab's own storage: gone with it, and in no address

/** The key that the user gave, or null. */
export function key() {
  return sessionStorage.getItem(NAME);
}

/** Ask the user for a key, and call `again` when there is one. */
export function askForKey(again) {
  const place = document.getElementById("access");
  place.replaceChildren(document.getElementById("key-form").content.cloneNode(true));
  const form = place.querySelector("form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(NAME, form.elements.key.value);
    place.replaceChildren();
    again();
  });
  form.elements.key.focus();
}
