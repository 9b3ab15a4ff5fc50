import EspalierCore
import Foundation
import FoundationXML
import TestSupport
import Testing

import Espalier

/// Reports of runs' folders, written here as `train` writes them.
@Suite struct ReportTests {
  /// A run's folder with two logged steps, two epochs and one update; removed with the value.
  final class Folder {
    let path = FileManager.default.temporaryDirectory.path + "/report-\(UUID().uuidString)"

    init(files: [String: String] = [:]) throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      for (name, text) in Self.whole.merging(files, uniquingKeysWith: { $1 }) {
        try text.write(toFile: path + "/" + name, atomically: true, encoding: .utf8)
      }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    static let whole = [
      "config.yaml": "model: mlp\ndataset: fashion-mnist\n",
      "environment.json": #"{"processor": "A & B <fast>"}"#,
      "metrics.jsonl": """
      {"epoch":0.5,"images_per_second":1000,"learning_rate":0.1,"step":1,"train_loss":2}
      {"epoch":1,"images_per_second":1000,"learning_rate":0.1,"step":2,"train_loss":1}
      {"epoch":1,"test_accuracy":0.25,"test_loss":1.5}
      {"epoch":2,"test_accuracy":0.75,"test_loss":0.5}

      """,
      "topology.jsonl": """
      {"fraction":0.2,"grown":4,"nnz":20,"seconds":0.1,"step":1,"layers":[{"candidates":18,"empty_rows":0,"grown":3,"name":"a","nnz":12,"pruned":3},{"candidates":2,"empty_rows":1,"grown":1,"name":"b","nnz":8,"pruned":1}]}

      """,
    ]
  }

  /// Checks that the page's tags close, and gathers its elements.
  final class Reader: NSObject, XMLParserDelegate {
    struct Element {
      let name: String
      let attributes: [String: String]
      /// Its own, without that of elements in it.
      var text = ""

      subscript(attribute: String) -> String? { attributes[attribute] }
    }

    /// In the order of their beginnings.
    var all: [Element] = []
    private var open: [Int] = []
    var polylines: [[String: String]] = []
    var bars: [[String: String]] = []
    var elements: Set<String> = []

    init(_ html: String) throws {
      super.init()
      let body = html.replacing("<!DOCTYPE html>", with: "").replacing(#"<meta charset="utf-8">"#, with: "")
        .replacing(/<meta name="[^"]*" content="[^"]*">/, with: "").replacing("<details open>", with: "<details>")
      let parser = XMLParser(data: Data(body.utf8))
      parser.delegate = self
      guard parser.parse() else { throw parser.parserError ?? EspalierError.invariant("no page") }
    }

    func parser(
      _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
      attributes: [String: String]
    ) {
      elements.insert(name)
      open.append(all.count)
      all.append(Element(name: name, attributes: attributes))
      if name == "polyline" { polylines.append(attributes) }
      if name == "rect" { bars.append(attributes) }
    }

    func parser(_ parser: XMLParser, foundCharacters string: String) {
      if let last = open.last { all[last].text += string }
    }

    func parser(
      _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
    ) {
      open.removeLast()
    }
  }

  @Test func thePageIsWellFormedAndStandsAlone() throws {
    let folder = try Folder()
    let run = try RunRecord(folder: folder.path)
    let html = Report(runs: [run, run]).html
    let page = try Reader(html)
    #expect(page.elements.isDisjoint(with: ["script", "link", "img", "iframe"]))
    #expect(!html.contains("http:") && !html.contains("https:") && !html.contains("url("))
    #expect(html.contains("A &amp; B &lt;fast&gt;"))
    #expect(html.contains("prefers-color-scheme: dark"))
    // Loss (faint and smooth), accuracy, test loss, rate, images a second, moved, candidates: for each run. No result, so no curve over time.
    #expect(page.polylines.count == 2 * 8)
  }

  @Test func curvesGoWhereTheirPointsAre() throws {
    let chart = LineChart(
      title: "a < b", xLabel: "x", series: [.init(name: "s", color: 9, points: [(0, 1), (5, .nan), (10, 3)])])
    let page = try Reader("<p>" + chart.html + "</p>")
    // The plane lies between x = 58 and 548, y = 222 and 12; a 52nd of that on each side is margin.
    #expect(page.polylines.map { $0["points"] } == ["67.4,218.0 538.6,16.0"])
    #expect(page.polylines.map { $0["class"] } == ["c1"])
    #expect(LineChart(title: "none", xLabel: "x", series: []).html.isEmpty)
  }

  /// One run that leaves every scale does not flatten the others.
  @Test func curvesAreCutOffAboveTheirLimit() throws {
    let series = [
      LineChart.Series(name: "s", color: 0, points: [(0, 1), (5, 2), (10, 3)]),
      .init(name: "d", color: 1, points: [(0, 1), (5, 1e20)]),
    ]
    #expect(Report.limit(of: series) == 20 && Report.limit(of: []) == .infinity)
    let chart = LineChart(title: "t", xLabel: "x", series: series, limit: 5)
    let page = try Reader("<p>" + chart.html + "</p>")
    #expect(page.polylines.map { $0["points"] } == ["67.4,218.0 303.0,167.5 538.6,117.0", "67.4,218.0 303.0,16.0"])
    #expect(chart.html.contains("<figcaption>t (cut off at 5)<"))
  }

  /// Every point counts in the means of its own window and in no other, whatever its size.
  @Test(arguments: [1, 49, 50, 120, 1000, 1037])
  func runningMeansForgetWhatHasPassed(_ count: Int) {
    let points = (0..<count).map { i -> (x: Double, y: Double) in (Double(i), i == 5 ? 1e20 : Double(i * 37 % 101)) }
    let window = max(1, count / 50)
    for (i, mean) in Report.runningMean(points).enumerated() {
      let own: [Double] = points[max(0, i + 1 - window)...i].map { $0.y }
      let expected = own.reduce(0, +) / Double(own.count)
      #expect(mean.x == Double(i))
      #expect(abs(mean.y - expected) <= 1e-12 * expected, "\(i) of \(count)")
    }
  }

  @Test func stopsAndValidationAreShown() throws {
    let metrics = try #require(Folder.whole["metrics.jsonl"])
    let validated = metrics.replacing("\"test_loss\"", with: "\"validation_accuracy\":0.5,\"test_loss\"")
    let folder = try Folder(files: [
      "metrics.jsonl": validated, "train.log": "epoch 1\nstopped: diverged at step 3: the loss is <nan>\n",
    ])
    let run = try RunRecord(folder: folder.path)
    let html = Report(runs: [run]).html
    #expect(html.contains("– : stopped: diverged at step 3: the loss is &lt;nan&gt;<"))
    #expect(html.contains("<figcaption>Validation accuracy<") && !html.contains("best epoch"))
    #expect(try Reader(html).polylines.count == 9)
    let other = try Folder(files: ["train.log": "stopped at step 3: x\nresumed\n"])
    let going = try RunRecord(folder: other.path)
    #expect(going.stop == nil && Report(runs: [going]).html.contains("– : the run has not ended<"))
  }

  @Test func barsAreAsLongAsTheirValues() throws {
    let chart = BarChart(
      title: "a < b", unit: "s", format: "%.1f", names: ["x", "y", "z"],
      bars: [.init(name: "r", color: 1, values: [6, nil, 2]), .init(name: "q", color: 2, values: [0, 12, nil])],
      showsShares: true)
    let page = try Reader("<p>" + chart.html + "</p>")
    // 356 wide at most.
    #expect(page.bars.map { $0["width"] } == ["178.0", "0.5", "356.0", "59.3"])
    #expect(page.bars.map { $0["class"] } == ["c1", "c2", "c2", "c1"])
    #expect(chart.html.contains(">6.0 s (75 %)<") && chart.html.contains(">12.0 s (100 %)<"))
    let none = BarChart(
      title: "", unit: "", format: "%f", names: ["x"], bars: [.init(name: "", color: 0, values: [nil])])
    #expect(none.html.isEmpty)
  }

  @Test func updatesAreAddedUpOverLayers() throws {
    let folder = try Folder()
    let html = Report(runs: [try RunRecord(folder: folder.path)]).html
    #expect(html.contains("1, 0.2<"), "4 of 20 connections moved at step 1")
    #expect(html.contains("1, 1<"), "20 candidates for 20 connections")
  }

  /// Each layer's row of the table over the updates: words of its cells, and the curves in them.
  @Test func layersAreFollowedOverTheUpdates() throws {
    func layer(_ name: String, _ nnz: Int, pruned: Int, rows: Int, columns: Int, explored: Double) -> String {
      #"{"candidates":9,"empty_columns":\#(columns),"empty_rows":\#(rows),"exploration_rate":\#(explored),"grown":1,"name":"\#(name)","nnz":\#(nnz),"pruned":\#(pruned)}"#
    }
    let updates = (0..<60).map { i in
      let layers = [
        layer("a", 12 + i, pruned: 3, rows: 59 - i, columns: 4, explored: 0.25 + 0.01 * Double(i)),
        layer("b", 8, pruned: i, rows: 0, columns: i % 2, explored: 0.5),
      ]
      return
        #"{"fraction":0.2,"grown":2,"nnz":20,"seconds":0.1,"step":\#(i + 1),"layers":[\#(layers.joined(separator: ","))]}"#
    }
    let folder = try Folder(files: ["topology.jsonl": updates.joined(separator: "\n") + "\n"])
    let html = Report(runs: [try RunRecord(folder: folder.path)]).html
    let page = try Reader(html)
    let table = try #require(html.components(separatedBy: "Layers over the updates").last)
    func cells(_ name: String) -> [String] {
      let row = table.components(separatedBy: "<td>\(name)</td>").dropFirst().first ?? ""
      let end = row.range(of: "</tr>")?.lowerBound ?? row.startIndex
      return row[..<end].components(separatedBy: "</td>").dropLast().map {
        $0.replacing("<td>", with: "").replacing(/<svg.*<\/svg>/, with: "~")
      }
    }
    #expect(cells("a") == ["~ 12 → 71", "180", "~ 59 → 0", "4", "~ 25 % → 84 %"])
    #expect(cells("b") == ["8", "~ 1770", "0", "~ 0 → 1", "50 %"])
    #expect(cells("all") == ["~ 20 → 79", "~ 1950", "~ 59 → 0", "~ 4 → 5", "–"])
    let curves = page.polylines.compactMap { $0["points"] }.filter { $0.hasPrefix("1,") }
    #expect(curves.count == 9 && curves.allSatisfy { $0.split(separator: " ").count == 24 })
    // From the lowest at the bottom to the highest at the top.
    #expect(curves[0].hasPrefix("1,16 ") && curves[0].hasSuffix(" 71,2"))
    #expect(table.utf8.count < 12_000)
  }

  @Test func logsOfBeforeThereWereTheseNumbersAreRead() throws {
    let folder = try Folder()
    let html = Report(runs: [try RunRecord(folder: folder.path)]).html
    let table = try #require(html.components(separatedBy: "Layers over the updates").last)
    #expect(table.contains("<tr><td>a</td><td>12</td><td>3</td><td>0</td><td>–</td><td>–</td></tr>"))
  }

  @Test func histogramsCountEveryValue() {
    let few = Histogram([0, 3, 3, 1], bins: 24)
    #expect(few.counts == [1, 1, 0, 2] && few.binWidth == 1 && few.zeros == 1 && few.maximum == 3 && few.mean == 1.75)
    let many = Histogram(Array(0..<100), bins: 10)
    #expect(many.binWidth == 10 && many.counts == [Int](repeating: 10, count: 10))
    #expect(Histogram([], bins: 4).counts == [0])
  }

  @Test func aLayerIsPicturedConnectionByConnection() throws {
    let meter = AllocationMeter(gamma: 1)
    let structure = try SparseStructure(
      rows: 2, columns: 128, connections: [(0, 0), (0, 1), (1, 127)], meter: meter)
    let matrix = SparseMatrix(name: "a", structure: structure, meter: meter)
    let picture = LayerPicture(matrix)
    #expect(picture.width == 64 && picture.height == 2)
    #expect(picture.cells.enumerated().filter { $1 > 0 }.map { [$0, $1] } == [[0, 2], [127, 1]])
    #expect(picture.fanIn.counts == [0, 1, 1] && picture.fanOut.counts == [125, 3])
  }

  @Test func aLineBeingWrittenIsLeftOut() throws {
    let cut = Folder.whole["metrics.jsonl"].map { $0 + #"{"epoch":2,"tra"# }
    let folder = try Folder(files: ["metrics.jsonl": try #require(cut)])
    let run = try RunRecord(folder: folder.path)
    #expect(run.steps.count == 2 && run.epochs.count == 2 && run.result == nil)
  }

  @Test(arguments: [
    ("metrics.jsonl", "{\"epoch\":1,\"tra\n"), ("topology.jsonl", "[]\n"), ("result.json", "{}"),
  ])
  func damageIsNamed(file: String, text: String) throws {
    let folder = try Folder(files: [file: text])
    let error = #expect(throws: EspalierError.self) { try RunRecord(folder: folder.path) }
    #expect(error?.kind == .input && error?.message.hasPrefix(folder.path + "/" + file) == true)
  }

  /// What lies in checkpoints/ and is none is not looked at; what is damaged is passed over, and where nothing is left no structure is shown.
  @Test func oddCheckpointsCostNoMoreThanTheStructure() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    for stop in [5, 10] {
      _ = try run.trainer.run(observer: StoppingObserver(after: stop))
      try saved.save(run)
    }
    let files = FileManager.default
    let place = saved.folder.path
    #expect(files.createFile(atPath: place + "/config.yaml", contents: Data("model: mlp\n".utf8)))
    #expect(try RunRecord(folder: place).layers.count == 3)
    #expect(files.createFile(atPath: place + "/checkpoints/step-zzz", contents: nil))
    try files.createDirectory(atPath: place + "/checkpoints/step-5", withIntermediateDirectories: false)
    #expect(try RunRecord(folder: place).layers.count == 3)
    for (step, layers) in [(10, 3), (5, 0)] {
      let url = URL(fileURLWithPath: saved.store.path(step: step) + "/model.safetensors")
      try Data(try Data(contentsOf: url).prefix(1000)).write(to: url)
      let record = try RunRecord(folder: place)
      #expect(record.layers.count == layers)
      #expect(Report(runs: [record]).html.contains("<h2>Structure") == (layers > 0))
    }
  }

  @Test func otherFoldersAreRefused() {
    let error = #expect(throws: EspalierError.self) { try RunRecord(folder: "/nowhere/at/all") }
    #expect(error?.kind == .input && error?.message.contains("config.yaml") == true)
  }

  @Test func syntheticDataIsCalledSo() throws {
    let folder = try Folder(files: ["config.yaml": "model: mlp\ndataset: synthetic\n"])
    #expect(Report(runs: [try RunRecord(folder: folder.path)]).html.contains("synthetic) data, whose accuracy"))
  }
}
