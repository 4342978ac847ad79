const escaped = (text) =>
  text.replaceAll(/[&<>"']/g, (sign) => `&#${sign.codePointAt(0)};`);

export function page(entries) {
  const list = entries.map(
    ({ name, words, written }) =>
      `<li><b>${escaped(name)}</b> <time>${written.toISOString().slice(0, 16).replace('T', ' ')}</time><p>${escaped(words)}</p></li>`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Guestbook</title>
<style>body { font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem } ul { padding: 0; list-style: none }</style>
<h1>Guestbook</h1>
<form method="post">
  <p><label>Name <input name="name" required maxlength="80"></label></p>
  <p><label>Words <textarea name="words" required maxlength="1000"></textarea></label></p>
  <button>Write</button>
</form>
<ul>${list.join('\n')}</ul>
</html>`;
}
