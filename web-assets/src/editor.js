// CodeMirror for pages that edit a flow: <textarea data-editor="yaml|json"> becomes an editor.
//
// data-check is asked about the text as it is typed, data-schema and data-original are ids of JSON in the page. The
// textarea follows every change, so that the form is sent as if it had been typed there.
import { autocompletion } from "@codemirror/autocomplete";
import { json } from "@codemirror/lang-json";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { linter, lintGutter } from "@codemirror/lint";
import { unifiedMergeView } from "@codemirror/merge";
import { EditorView, keymap } from "@codemirror/view";
import { indentWithTab } from "@codemirror/commands";
import { tags } from "@lezer/highlight";
import { basicSetup } from "codemirror";
import { completer } from "./editor-complete.js";
import { checker } from "./editor-lint.js";

// The page's own properties, which reach into the shadow root; light and dark are theirs.
const theme = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "13px" },
  "&.cm-focused": { outline: "2px solid var(--accent)" },
  ".cm-content": { fontFamily: "var(--mono)", caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { color: "var(--muted)", backgroundColor: "var(--sunken)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--hover)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selected) !important" },
  ".cm-tooltip, .cm-panels": { color: "var(--text)", backgroundColor: "var(--surface)", border: "1px solid var(--line)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { color: "var(--text)", backgroundColor: "var(--selected)" },
});
const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--hl-key)" },
  { tag: [tags.string, tags.content], color: "var(--hl-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--hl-number)" },
  { tag: tags.comment, color: "var(--hl-comment)" },
]);

function open(textarea) {
  const isJson = textarea.dataset.editor === "json";
  const original = embedded(textarea.dataset.original).replaceAll("\r\n", "\n"); // as a form has it
  const extensions = [
    basicSetup,
    theme,
    syntaxHighlighting(colours),
    keymap.of([indentWithTab]), // Escape, then Tab, leaves the editor
    isJson ? json() : yaml(),
    EditorView.lineWrapping,
    EditorView.updateListener.of((update) => {
      if (update.docChanged) textarea.value = update.state.doc.toString();
    }),
    EditorView.contentAttributes.of({ "aria-label": textarea.getAttribute("aria-label"), "aria-describedby": "keys" }),
    linter(checker(textarea, tell), { delay: 400 }),
    lintGutter(),
    autocompletion({ override: [completer(embedded(textarea.dataset.schema), isJson)] }),
    unifiedMergeView({ original, mergeControls: false, highlightChanges: false, syntaxHighlightDeletions: false }),
  ];
  // In a shadow root CodeMirror adopts its style sheets; in the page it would need a <style>, which our policy refuses.
  const host = document.createElement("div");
  host.className = "editor";
  const root = host.attachShadow({ mode: "open" });
  textarea.after(host);
  const isFocused = document.activeElement === textarea;
  textarea.hidden = true;
  const hint = document.createElement("p");
  hint.id = "keys";
  hint.hidden = true;
  hint.textContent = "Escape, then Tab, leaves the editor. Control and Space complete.";
  root.append(hint);
  const view = new EditorView({ doc: textarea.value, extensions, root, parent: root });
  if (isFocused) view.focus();
}

function tell(words) {
  const place = document.getElementById("problems");
  place.hidden = false;
  place.textContent = words;
}

function embedded(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

for (const textarea of document.querySelectorAll("textarea[data-editor]")) open(textarea);
