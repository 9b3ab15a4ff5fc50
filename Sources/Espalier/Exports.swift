// One import is enough: `import Espalier` brings the modules below it along.
@_exported import EspalierCore
@_exported import EspalierData
@_exported import EspalierTopology
