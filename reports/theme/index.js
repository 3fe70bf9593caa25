// A search over the table of runs. Without it the table lacks nothing.
(() => {
  'use strict';
  const table = document.querySelector('.runs');
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  const line = document.createElement('p');
  line.className = 'search';
  const label = line.appendChild(document.createElement('label'));
  label.textContent = 'Search ';
  const field = label.appendChild(document.createElement('input'));
  field.type = 'search';
  field.placeholder = 'verdict, scenario, date, words';
  const said = line.appendChild(document.createElement('output'));
  table.closest('.scroll').before(line);

  // Every word has to be somewhere in the line.
  field.addEventListener('input', () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    said.textContent = words.length > 0 ? ` ${shown} of ${rows.length}` : '';
  });
})();
