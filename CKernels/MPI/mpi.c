#include "esp_mpi.h"

#ifdef ESP_WITH_MPI
#include <mpi.h>

int esp_mpi_start(void) {
  int provided;
  return MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) == MPI_SUCCESS &&
         provided >= MPI_THREAD_SERIALIZED;
}

int esp_mpi_is_running(void) {
  int started, finished;
  MPI_Initialized(&started);
  MPI_Finalized(&finished);
  return started && !finished;
}

int esp_mpi_rank(void) {
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

int esp_mpi_size(void) {
  int size;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

void esp_mpi_exchange(const void *source, const int *counts, const int *starts, void *target, const int *target_counts,
                      const int *target_starts) {
  MPI_Alltoallv(source, counts, starts, MPI_BYTE, target, target_counts, target_starts, MPI_BYTE, MPI_COMM_WORLD);
}

void esp_mpi_gather(void *buffer, const int *counts, const int *starts) {
  MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_BYTE, buffer, counts, starts, MPI_BYTE, MPI_COMM_WORLD);
}

void esp_mpi_finish(void) {
  MPI_Finalize();
}

void esp_mpi_abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
}

#endif
