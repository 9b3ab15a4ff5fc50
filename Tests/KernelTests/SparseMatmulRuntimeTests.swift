import EspRuntime
import Glibc
import Testing

/// What the kernels know about the machine.
@Suite struct SparseMatmulRuntimeTests {
  @Test func scalarIsAlwaysThereAndTheBestIsAvailable() {
    #expect(esp_isa_available(ESP_ISA_SCALAR) == 1)
    #expect(esp_isa_available(esp_isa_best()) == 1)
    #expect(esp_isa_available(ESP_ISA_COUNT) == 0)
    for isa in esp_isa_best().rawValue + 1..<max(ESP_ISA_COUNT.rawValue, esp_isa_best().rawValue + 1) {
      #expect(esp_isa_available(esp_isa(rawValue: isa)) == 0, "a better one is available than the best")
    }
  }

  @Test func namesAreThoseOfTheEnvironmentVariable() {
    #expect(String(cString: esp_isa_name(ESP_ISA_SCALAR)) == "scalar")
    #expect(String(cString: esp_isa_name(ESP_ISA_AVX2)) == "avx2")
    #expect(String(cString: esp_isa_name(ESP_ISA_AVX512)) == "avx512")
    #expect(String(cString: esp_isa_name(ESP_ISA_NEON)) == "neon")
    #expect(esp_isa_name(ESP_ISA_COUNT) == nil)
  }

  @Test(arguments: [0, 1, 2, 7, 64, 1000]) func partsCoverEverythingEvenly(n: Int) {
    for parts in [1, 2, 3, 5, 64] {
      #expect(esp_part(n, 0, parts) == 0)
      #expect(esp_part(n, parts, parts) == n)
      for part in 0..<parts {
        let size = esp_part(n, part + 1, parts) - esp_part(n, part, parts)
        #expect(size == n / parts || size == n / parts + 1)
      }
    }
  }

  @Test func threadsAreGranted() {
    for threads: Int32 in [1, 2, 3, 5] { #expect(esp_threads_granted(threads) == threads) }
  }

  @Test func processorsAreThoseOfTheAffinityMask() {
    #expect(esp_processor_count() >= 1)
    #expect(Int(esp_processor_count()) <= sysconf(Int32(_SC_NPROCESSORS_CONF)))
    #expect(esp_openmp_version() >= 201511)
  }
}
