#ifndef ESP_MPI_H
#define ESP_MPI_H

#include <stddef.h>

// The calls of MPI that ranks of a training run make, on all processes (MPI_COMM_WORLD): what MPI names by macros does
// not reach Swift. Counts and starts are in bytes. An error of MPI ends the job. Defined with the package trait MPI
// alone.

/// Joins the other processes; 0 where MPI refuses. Called once, before any other.
int esp_mpi_start(void);

/// Whether this process has joined others and not left them.
int esp_mpi_is_running(void);

/// This process's number, and how many there are.
int esp_mpi_rank(void);
int esp_mpi_size(void);

/// Sends `counts[r]` bytes at `source + starts[r]` to each rank r, and receives rank r's at `target +
/// target_starts[r]`.
void esp_mpi_exchange(const void *source, const int *counts, const int *starts, void *target, const int *target_counts,
                      const int *target_starts);

/// Gives every rank the `counts[r]` bytes at `buffer + starts[r]` of each rank r.
void esp_mpi_gather(void *buffer, const int *counts, const int *starts);

/// Leaves the other processes, once all of them do.
void esp_mpi_finish(void);

/// Ends all processes; the job's exit code is `code`.
void esp_mpi_abort(int code);

#endif
