/* Preloaded into wrk, which has no such option: each connection comes from the next of COUNT addresses after FIRST, as
   those of many firewalls would (jims answers each address 100 times a second at most). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

int connect(int socket, const struct sockaddr *to, socklen_t length) {
    static int (*next_connect)(int, const struct sockaddr *, socklen_t);
    static unsigned taken;
    const char *first = getenv("FROM_FIRST"), *count = getenv("FROM_COUNT");
    if (to->sa_family == AF_INET && first && count) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        unsigned number = __atomic_fetch_add(&taken, 1, __ATOMIC_RELAXED) % (unsigned)atoi(count);
        from.sin_addr.s_addr = htonl(ntohl(inet_addr(first)) + number);
        if (bind(socket, (struct sockaddr *)&from, sizeof from) != 0) return -1;
    }
    if (!next_connect) *(void **)&next_connect = dlsym(RTLD_NEXT, "connect");
    return next_connect(socket, to, length);
}
