// One import gives users everything but the command line and the dense baselines.
@_exported import EspalierCore
@_exported import EspalierData
@_exported import EspalierTopology
