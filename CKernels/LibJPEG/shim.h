#include <stddef.h>
#include <stdio.h>
// Needs the types of the two above.
#include <jpeglib.h>
