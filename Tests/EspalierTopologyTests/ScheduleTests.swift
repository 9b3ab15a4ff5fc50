import EspalierTopology
import Foundation
import Testing

@Suite struct UpdateScheduleTests {
  @Test func updatesEveryIntervalAfterTheFirstStepAndBeforeTheEnd() {
    let schedule = UpdateSchedule(interval: 10, end: 45, fraction: 0.2)
    #expect((-20..<100).filter { schedule.isUpdate(step: $0) } == [10, 20, 30, 40])
    let exact = UpdateSchedule(interval: 10, end: 40, fraction: 0.2)
    #expect((0..<100).filter { exact.isUpdate(step: $0) } == [10, 20, 30])
    #expect(!(0..<100).contains { UpdateSchedule(interval: 10, end: 0, fraction: 0.2).isUpdate(step: $0) })
    #expect((0..<5).filter { UpdateSchedule(interval: 1, end: 4, fraction: 0.2).isUpdate(step: $0) } == [1, 2, 3])
  }

  @Test func theFractionFollowsACosine() {
    let schedule = UpdateSchedule(interval: 10, end: 1000, fraction: 0.2)
    #expect(schedule.fraction(at: 0) == 0.2)
    #expect(abs(schedule.fraction(at: 500) - 0.1) < 1e-15)
    #expect(abs(schedule.fraction(at: 250) - 0.1 * (1 + 0.5.squareRoot())) < 1e-15)
    #expect(abs(schedule.fraction(at: 333) - 0.1 * (1 + cos(.pi * 0.333))) < 1e-15)
    #expect(schedule.fraction(at: 999) > 0 && schedule.fraction(at: 999) < 1e-6)
    #expect(schedule.fraction(at: 1000) == 0 && schedule.fraction(at: 5000) == 0)
    let falls = (0..<1000).allSatisfy { schedule.fraction(at: $0) > schedule.fraction(at: $0 + 1) }
    #expect(falls)
  }

  @Test func countsRoundUp() {
    let schedule = UpdateSchedule(interval: 1, end: 1000, fraction: 0.2)
    #expect(schedule.count(of: 0, at: 10) == 0)
    #expect(schedule.count(of: 1, at: 0) == 1 && schedule.count(of: 5, at: 0) == 1 && schedule.count(of: 6, at: 0) == 2)
    #expect(schedule.count(of: 1, at: 999) == 1, "something moves while the fraction is above 0")
    #expect(schedule.count(of: 100, at: 1000) == 0)
    #expect(UpdateSchedule(interval: 1, end: 10, fraction: 1).count(of: 7, at: 0) == 7)
    #expect(UpdateSchedule(interval: 1, end: 10, fraction: 3).count(of: 7, at: 0) == 7, "never more than there are")
    for step in [1, 77, 500, 998] {
      for active in [1, 10, 99, 12_345] {
        let expected = 0.1 * (1 + cos(Double.pi * Double(step) / 1000)) * Double(active)
        #expect(schedule.count(of: active, at: step) == Int(expected.rounded(.up)))
      }
    }
  }

  @Test(arguments: [1, 3, 10], [0, 1, 5, 10, 11, 30])
  func numberOfUpdatesIsThatOfTheSteps(interval: Int, end: Int) {
    let schedule = UpdateSchedule(interval: interval, end: end, fraction: 0.2)
    for steps in 0...40 {
      #expect(schedule.updates(inSteps: steps) == (0..<steps).count { schedule.isUpdate(step: $0) })
    }
  }
}
