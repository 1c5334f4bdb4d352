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
  // the slider shows one plan after the other
  document.querySelectorAll(".explorer").forEach(function (part) {
    var data = JSON.parse(part.querySelector("#explorer-data").textContent);
    var slider = part.querySelector("input"), chosen = part.querySelector("output");
    var rows = Array.from(part.querySelector("tbody").rows);
    var ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    ring.setAttribute("r", "8");
    ring.setAttribute("class", "ring");
    part.querySelector("svg.chart").appendChild(ring);
    function show() {
      var i = Number(slider.value);
      chosen.querySelector("strong").textContent = data.names[i];
      chosen.lastChild.textContent = data.said[i];
      slider.setAttribute("aria-valuetext", data.names[i] + ", " + data.said[i]);
      ring.setAttribute("cx", data.places[i][0]);
      ring.setAttribute("cy", data.places[i][1]);
      rows.forEach(function (row, k) {
        var layer = data.layers[i][k];
        var texts = [layer[0], layer[2] + ", " + layer[3], layer[5]];
        texts.forEach(function (text, c) { row.cells[c + 1].querySelector("span").textContent = text; });
        var at = row.cells[1].querySelector(".at");
        at.setAttribute("x1", layer[1] + "%");
        at.setAttribute("x2", layer[1] + "%");
        row.cells[2].querySelector("rect").setAttribute("width", layer[4] + "%");
        row.cells[3].querySelector("rect").setAttribute("width", layer[6] + "%");
      });
    }
    // a point of the chart can be chosen too
    part.querySelectorAll("svg.chart use").forEach(function (mark, i) {
      mark.addEventListener("click", function () { slider.value = data.order[i]; show(); });
    });
    slider.disabled = false;
    slider.addEventListener("input", show);
    show();
  });
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
