/* Further processes for the same root: each arrives over a socket, as a message and the end of its channel. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>

#include "calls.h"

#define LONGEST (8 * PATH_MAX)

struct guest {
	struct guest *next;
	int channel;
	pid_t pid;
	unsigned uid, gid;
	char *groups, *cwd, *terminal, words[];
};

static struct guest *waiting; /* under the lock */
static struct task *resident;

/* `PID UID GID`, the groups, the working directory and the terminal (or ""), each ended by NUL. */
static struct guest *read_guest(int door)
{
	char text[LONGEST];
	int channel = -1;
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof channel)]; } control = {0};
	struct iovec iov = {text, sizeof text};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(door, &message, MSG_CMSG_CLOEXEC);
	if (n <= 0 || text[n - 1] || message.msg_controllen < CMSG_LEN(sizeof channel))
		return NULL;
	memcpy(&channel, CMSG_DATA(&control.head), sizeof channel);
	struct guest *g = calloc(1, sizeof *g + (size_t)n + 4);
	if (!g)
		abort();
	memcpy(g->words, text, (size_t)n);
	g->channel = channel;
	g->groups = strchr(g->words, 0) + 1;
	g->cwd = strchr(g->groups, 0) + 1;
	g->terminal = strchr(g->cwd, 0) + 1;
	if (sscanf(g->words, "%d %u %u", &g->pid, &g->uid, &g->gid) != 3)
		g->pid = 0;
	return g;
}

static void *listen_at(void *data)
{
	int door = (int)(intptr_t)data;
	for (struct guest *g; (g = read_guest(door));) {
		lock();
		g->next = waiting;
		waiting = g;
		unlock();
		if (!fork()) /* the tracing thread waits for a process to end, so let one end */
			_exit(0);
	}
	close(door);
	return NULL;
}

/* Accept further processes from now on, which get everything from `first`, except ids and working directories. */
bool door_open(int fd, struct task *first)
{
	pthread_t thread;
	resident = first;
	return !fcntl(fd, F_SETFD, FD_CLOEXEC) && !pthread_create(&thread, NULL, listen_at, (void *)(intptr_t)fd) &&
	       !pthread_detach(thread);
}

/* The directory in which a guest starts, where the tracer translates paths. */
static int directory_of(struct guest *g, struct task *as)
{
	struct where w;
	struct stat st;
	int bad = path_walk(as, "", g->cwd, FOLLOW, &w);
	if (bad)
		return bad;
	if (!(bad = look_shown(&w, &st)) && !(bad = S_ISDIR(st.st_mode) ? may(as, &st, 1) : -ENOTDIR)) {
		int fd = openat(w.fd, w.rel, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == EACCES && make_accessible(&w))
			fd = openat(w.fd, w.rel, O_PATH | O_DIRECTORY | O_CLOEXEC);
		bad = fd < 0 ? -errno : fd;
	}
	where_done(&w);
	return bad;
}

/* Start to trace the processes that wait, unless it is `over`. Called by the tracing thread, which holds the lock. */
void door_next(bool over)
{
	while (waiting) {
		struct guest *g = waiting;
		char ready;
		waiting = g->next;
		if (!over && g->pid > 0 && read(g->channel, &ready, 1) == 1) {
			struct task *as = task_like(g->uid, g->gid, g->groups, resident->fs->umask);
			if (*g->terminal)
				mount_make(g->terminal, g->terminal, false);
			int directory = options.paths ? directory_of(g, as) : AT_FDCWD;
			task_trace(g->pid, g->channel, directory, as);
			if (directory >= 0)
				close(directory);
			task_free(as);
		}
		close(g->channel);
		free(g);
	}
}
