/* The traced process, from its fork to its program, and the listener of its system calls that it hands over. */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tracer.h"

/* Send a byte with a descriptor, or with the -errno in its place; AT_FDCWD sends neither. */
bool child_send(int channel, int fd)
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
	} else if (fd != AT_FDCWD)
		byte = (char)-fd;
	return sendmsg(channel, &message, MSG_NOSIGNAL) == 1;
}

/* Receive what the other side sends with child_send. */
int child_receive(int channel)
{
	char byte[2] = {0};
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control = {0};
	struct iovec iov = {byte, 1};
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) <= 0)
		return -EPIPE;
	if (byte[0] || message.msg_controllen < CMSG_LEN(sizeof(int)))
		return byte[0] ? -(unsigned char)byte[0] : AT_FDCWD;
	int fd;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
	return fd;
}

/* Become the program `command` in the directory `cwd`, once a byte on `channel` says that the tracer is attached,
 * and another that it listens. */
_Noreturn void child_run(int channel, const char *cwd, char **command, struct rlimit *limit)
{
	char byte;
	bool killable;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int directory = child_receive(channel);
	if (directory == -EPIPE)
		_exit(125);
	if (directory != AT_FDCWD && (directory < 0 || fchdir(directory))) {
		const char *reason = strerror(directory < 0 ? -directory : errno);
		dprintf(2, "chdir to the working directory \"%s\": %c%s\n", cwd, *reason | 32, reason + 1);
		_exit(options.lost);
	}
	setrlimit(RLIMIT_NOFILE, limit);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && errno != EINVAL)
		_exit(125);
	int listener = filter_install(&killable);
	child_send(channel, listener);
	if (listener < 0 || read(channel, &byte, 1) != 1)
		_exit(125);
	prctl(PR_SET_PTRACER, 0);
	int told = options.begun >= 0 ? dup3(options.begun, 3, O_CLOEXEC) : 2;
	syscall(SYS_close_range, told == 3 ? 4U : 3U, ~0U, 0U);
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
		dprintf(told, strchr(name, '/') ? "exec: \"%s\": no such file\n" : "exec: \"%s\": executable file not found in $PATH\n",
			name);
	else
		dprintf(told, "exec: \"%s\": %c%s\n", name, *strerror(error) | 32, strerror(error) + 1);
	_exit(error == ENOENT ? 127 : 126);
}

/* Report whether tracing works here, and if not, why; return an exit code. */
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
		child_send(channel[1], fd);
		_exit(fd < 0);
	}
	int bad = ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_EXITKILL) ? errno : 0;
	close(channel[1]);
	if (write(channel[0], "", 1) != 1)
		bad = bad ? bad : EPIPE;
	int fd = child_receive(channel[0]);
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
