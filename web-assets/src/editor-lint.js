// What the server's checker says about the text, where it says it.

export function checker(textarea, told) {
  const token = textarea.form.querySelector('input[name="csrf_token"]')?.value ?? "";
  return async (view) => {
    const doc = view.state.doc;
    const body = new URLSearchParams({ csrf_token: token, content: doc.toString() });
    const answer = await fetch(textarea.dataset.check, { method: "POST", body, headers: { accept: "application/json" } });
    if (!answer.ok) {
      told(answer.status === 429 || answer.status === 503 ? "The server is busy; it is checked as you go on." : "It could not be checked.");
      return [];
    }
    const { diagnostics } = await answer.json();
    told(words(diagnostics));
    return diagnostics.map((one) => placed(doc, one));
  };
}

function words(found) {
  if (found.length === 0) return "Valid.";
  const [first] = found;
  const count = found.length === 1 ? "1 finding" : `${found.length} findings`;
  return `${count}; line ${first.line}: ${first.message}`;
}

function placed(doc, { line, column, severity, message }) {
  const at = doc.line(Math.min(Math.max(line, 1), doc.lines));
  const from = Math.min(at.from + Math.max(column - 1, 0), at.to);
  const word = /^["'{]*[^\s:,"'}\]]*["'}]*/.exec(doc.sliceString(from, at.to))[0];
  return { from, to: Math.max(from + word.length, Math.min(from + 1, at.to)), severity, message };
}
