/* Calls that a thread other than the tracing one answers: seccomp's user notification. */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "calls.h"

#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void lock(void) { pthread_mutex_lock(&mutex); }
void unlock(void) { pthread_mutex_unlock(&mutex); }

long mem_read(pid_t tid, void *to, uint64_t from, size_t n)
{
	struct iovec local = {to, n}, remote = {(void *)from, n};
	return process_vm_readv(tid, &local, 1, &remote, 1, 0) == (ssize_t)n ? 0 : -EFAULT;
}

long mem_write(pid_t tid, uint64_t to, const void *from, size_t n)
{
	struct iovec local = {(void *)from, n}, remote = {(void *)to, n};
	return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)n ? 0 : -EFAULT;
}

long mem_string(pid_t tid, char *to, uint64_t from, size_t room)
{
	/* The string may end before an unmapped page. */
	size_t first = 4096 - (from & 4095);
	if (first > room)
		first = room;
	struct iovec local = {to, room}, remote[2] = {{(void *)from, first}, {(void *)(from + first), room - first}};
	ssize_t n = process_vm_readv(tid, &local, 1, remote, room > first ? 2 : 1, 0);
	if (n <= 0)
		return -EFAULT;
	char *end = memchr(to, 0, (size_t)n);
	if (!end)
		return (size_t)n == room ? -ENAMETOOLONG : -EFAULT;
	return end - to;
}

void notify_answer(int listener, uint64_t id, long result, bool descriptor, bool cloexec)
{
	if (descriptor) {
		struct seccomp_notif_addfd add = {
			.id = id,
			.flags = SECCOMP_ADDFD_FLAG_SEND,
			.srcfd = (uint32_t)result,
			.newfd_flags = cloexec ? O_CLOEXEC : 0,
		};
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0 || errno == ENOENT)
			return;
		result = -errno;
	}
	struct seccomp_notif_resp answer = {.id = id};
	if (result < 0)
		answer.error = (int32_t)result;
	else
		answer.val = result;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

static void answer(int listener, struct seccomp_notif *ask)
{
	lock();
	struct call c = {
		.t = task_find((pid_t)ask->pid),
		.nr = ask->data.nr,
		.listener = listener,
		.id = ask->id,
	};
	memcpy(c.a, ask->data.args, sizeof c.a);
	handler call = handler_of(c.nr, NULL);
	long result = c.t && call ? call(&c) : -ENOSYS;
	if (options.verbose)
		fprintf(stderr, "[%d] %d(%lx, %lx, %lx) = %ld%s\n", (int)ask->pid, c.nr, (long)c.a[0], (long)c.a[1],
			(long)c.a[2], result, c.action == DESCRIPTOR ? " fd" : c.action == GO ? " go" : "");
	unlock();
	/* Only the process itself can resolve a path through /proc. */
	if (!options.paths && c.action == DONE && result == -ENOENT)
		c.action = GO, result = 0;
	if (c.action == LATER && result >= 0)
		return;
	if (c.action == GO && result >= 0) {
		struct seccomp_notif_resp go = {.id = c.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &go);
		return;
	}
	notify_answer(listener, c.id, result, c.action == DESCRIPTOR && result >= 0, c.cloexec);
	if (c.action == DESCRIPTOR && result >= 0)
		close((int)result);
}

static void *listen_on(void *data)
{
	int listener = (int)(intptr_t)data;
	/* Answers wake the asking process on this processor, which is about to wait (Linux 6.6). */
	ioctl(listener, _IOW('!', 4, uint64_t), 1UL);
	for (;;) {
		struct seccomp_notif ask = {0};
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &ask)) {
			struct pollfd end = {.fd = listener};
			if (errno == ENOENT && poll(&end, 1, 0) > 0 && end.revents & POLLHUP) {
				close(listener);
				return NULL;
			}
			continue;
		}
		answer(listener, &ask);
	}
}

/* Answer a listener's notifications in a thread of its own, until all the processes that make the calls have ended. */
bool notify_start(int listener)
{
	pthread_t thread;
	pthread_attr_t big;
	pthread_attr_init(&big);
	pthread_attr_setstacksize(&big, 1 << 20);
	return !pthread_create(&thread, &big, listen_on, (void *)(intptr_t)listener) && !pthread_detach(thread);
}
