/* The process that is traced, from its fork to its program, and the listener of its system calls that it hands over. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tracer.h"

static void send_fd(int channel, int fd)
{
	char byte = 0;
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof fd)]; } control = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
		control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	} else
		byte = (char)-fd;
	sendmsg(channel, &message, 0);
}

/* Receive the listener that the process sends; a negative errno where it has none. */
int child_listener(int channel)
{
	char byte[2] = {0};
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control = {0};
	struct iovec iov = {byte, 1};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) <= 0)
		return -EPIPE;
	if (byte[0] || message.msg_controllen < CMSG_LEN(sizeof(int)))
		return byte[0] ? -byte[0] : -EPROTO;
	int fd;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
	return fd;
}

/* Become the program `command`, once a byte of `channel` says that the tracer is there, and another that it listens. */
_Noreturn void child_run(int channel, int cwd, char **command, struct rlimit *limit)
{
	char byte;
	bool killable;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(channel, &byte, 1) != 1)
		_exit(125);
	if (cwd >= 0 && fchdir(cwd))
		_exit(125);
	setrlimit(RLIMIT_NOFILE, limit);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && errno != EINVAL)
		_exit(125);
	int listener = filter_install(&killable);
	send_fd(channel, listener);
	if (listener < 0 || read(channel, &byte, 1) != 1)
		_exit(125);
	syscall(SYS_close_range, 3U, ~0U, 0U);
	signal(SIGPIPE, SIG_DFL);
	const char *path = getenv("PATH"), *name = command[0];
	char full[PATH_MAX];
	int error = ENOENT;
	if (strchr(name, '/') || !path)
		path = "";
	for (bool more = true; more;) {
		size_t n = strcspn(path, ":");
		snprintf(full, sizeof full, "%.*s%s%s", (int)n, path, n ? "/" : "", name);
		execv(full, command);
		if (errno != ENOENT && errno != ENOTDIR && error == ENOENT)
			error = errno;
		more = path[n] == ':';
		path += n + more;
	}
	if (error == ENOENT)
		dprintf(2, strchr(name, '/') ? "exec: \"%s\": no such file\n" : "exec: \"%s\": executable file not found in $PATH\n",
			name);
	else
		dprintf(2, "exec: \"%s\": %c%s\n", name, *strerror(error) | 32, strerror(error) + 1);
	_exit(error == ENOENT ? 127 : 126);
}

/* Tell whether tracing works here, and if not, why; returns an exit code. */
int child_probe(void)
{
	int channel[2];
	bool killable;
	options.paths = options.ids = true;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel))
		return 1;
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		char byte;
		if (read(channel[1], &byte, 1) != 1)
			_exit(1);
		int fd = filter_install(&killable);
		send_fd(channel[1], fd);
		_exit(fd < 0);
	}
	int bad = ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_EXITKILL) ? errno : 0;
	close(channel[1]);
	if (write(channel[0], "", 1) != 1)
		bad = bad ? bad : EPIPE;
	int fd = child_listener(channel[0]);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	if (bad)
		printf("ptrace: %s\n", strerror(bad));
	else if (fd < 0)
		printf("seccomp: %s\n", strerror(-fd));
	else if ((bad = -loader_open()))
		printf("loader: %s\n", strerror(bad));
	else
		puts("works");
	return bad || fd < 0;
}
