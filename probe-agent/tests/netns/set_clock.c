/* Preloaded into an agent, this sets its wall clock ahead by the seconds in the file that CLOCK_AHEAD
   names, and no other clock. The clock of the machine is for all. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_AHEAD");
    if (result == 0 && clock == CLOCK_REALTIME && path != NULL) {
        char seconds[24] = "";
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            if (read(file, seconds, sizeof seconds - 1) > 0)
                now->tv_sec += atoll(seconds);
            close(file);
        }
    }
    return (int)result;
}
