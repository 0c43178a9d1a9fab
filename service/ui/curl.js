// The curl command that does what the page did.

const PLAIN = /^[\w@%+=:,./-]+$/; // what a shell takes as it is

/**
 * The command that sends the file of that name to that URL, for a POSIX shell. A key it takes from
 * the shell's FASHION_API_KEY, so that none is seen here or kept in a shell's history.
 */
export function curlCommand(name, url, withKey) {
  const header = withKey ? '-H "Authorization: Bearer $FASHION_API_KEY" ' : "";
  return `curl ${header}-F ${quote(`image=@${forForm(name)}`)} ${quote(url)}`;
}

/** curl reads `;` and `,` in a form's file name as its own unless the name is quoted. */
function forForm(name) {
  if (name === "-") return "./-"; // or it would be the standard input
  if (!/[;,"\\]/.test(name)) return name;
  return `"${name.replace(/["\\]/g, "\\$&")}"`;
}

function quote(word) {
  return PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
