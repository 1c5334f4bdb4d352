(function () {
  "use strict";
  // folded parts are printed too
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details:not([open])").forEach(function (d) { d.dataset.folded = "1"; d.open = true; });
  });
  addEventListener("afterprint", function () {
    document.querySelectorAll("details[data-folded]").forEach(function (d) { d.open = false; delete d.dataset.folded; });
  });
  // a link to a folded part opens it
  function unfold() {
    var part = location.hash && document.getElementById(location.hash.slice(1));
    if (part && part.tagName === "DETAILS") { part.open = true; }
  }
  addEventListener("hashchange", unfold);
  unfold();
  // a long table can be filtered by words
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var rows = Array.from(table.tBodies[0].rows);
    if (rows.length <= 30) { return; }
    var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
    var label = document.createElement("label");
    label.className = "filter";
    label.textContent = "Show rows with";
    var input = label.appendChild(document.createElement("input"));
    input.type = "search";
    input.addEventListener("input", function () {
      var words = input.value.toLowerCase().split(/\s+/);
      rows.forEach(function (row, i) {
        row.hidden = !words.every(function (word) { return texts[i].includes(word); });
      });
    });
    table.closest(".scroll").before(label);
  });
  // tables whose columns can be sorted
  document.querySelectorAll("table.sortable").forEach(function (table) {
    table.querySelectorAll("thead th").forEach(function (th, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = th.textContent;
      th.textContent = "";
      th.appendChild(button);
      button.addEventListener("click", function () {
        var down = th.getAttribute("aria-sort") === "ascending";
        var body = table.tBodies[0];
        var rows = Array.from(body.rows).map(function (row) {
          var cell = row.cells[column];
          var value = cell.dataset.v === undefined ? cell.textContent : cell.dataset.v;
          return [value === "" ? NaN : Number(value), value, row];
        });
        rows.sort(function (a, b) {
          if (!isNaN(a[0]) && !isNaN(b[0])) { return a[0] - b[0]; }
          if (isNaN(a[0]) !== isNaN(b[0])) { return isNaN(a[0]) ? 1 : -1; }
          return a[1].localeCompare(b[1]);
        });
        if (down) { rows.reverse(); }
        table.querySelectorAll("th[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        rows.forEach(function (row) { body.appendChild(row[2]); });
      });
    });
  });
})();
