/* A root, mounts and ids for a process tree where the kernel gives no namespaces.
 *
 * Two threads serve the tree. This one traces it: it learns of new processes, sees programs start, and changes the
 * registers of the few calls that a process has to make itself with another path (execve, chdir, bind, connect).
 * The other (notify.c) answers the calls that seccomp notifies of: it makes them itself, in the place of the process,
 * so that neither its memory nor its registers are changed, and hands opened files over. All other calls, on
 * descriptors, memory and time, run at the kernel's speed. It is no border: a process that wants to harm others can
 * do what the user who runs it can.
 */
#include <fcntl.h>
#include <getopt.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "calls.h"

struct options options;
uid_t my_uid;
gid_t my_gid;
int my_pid;
const char *proc = "/proc/";
int root_fd = AT_FDCWD;
dev_t proc_dev;
static pid_t first;
static volatile sig_atomic_t stopped;

static _Noreturn void fail(const char *what, int error)
{
	fprintf(stderr, "tracer: %s%s%s\n", what, error ? ": " : "", error ? strerror(error) : "");
	exit(125);
}

static void on_signal(int number)
{
	stopped = number;
	if (first > 0)
		kill(first, SIGKILL);
}

/* Stops. */

static void resume(pid_t tid, int how, int number)
{
	ptrace(how, tid, NULL, (void *)(long)number);
}

static void on_seccomp(struct task *t)
{
	regs_t regs;
	if (regs_get(t->tid, &regs))
		return;
	struct call c = {.t = t, .nr = (int)REG_NR(&regs), .regs = &regs};
	for (int n = 0; n < 6; n++)
		c.a[n] = *reg_arg(&regs, n);
	handler call = handler_of(c.nr, NULL);
	long result = call ? call(&c) : -ENOSYS;
	if (options.verbose)
		fprintf(stderr, "[%d] stop %d(%lx) = %ld %d\n", t->tid, c.nr, (long)c.a[0], result, c.action);
	if (result < 0 || c.action == DONE) {
		t->pending = NONE;
		regs_skip(t->tid, &regs, result);
	} else if (c.action == CHANGED) {
		regs_set(t->tid, &regs);
		resume(t->tid, PTRACE_SYSCALL, 0);
		return;
	}
	resume(t->tid, PTRACE_CONT, 0);
}

/* Give the process its own arguments back after a call that was made with others. */
static void on_exit_of_call(struct task *t)
{
	regs_t regs;
	if (t->pending != NONE && !regs_get(t->tid, &regs)) {
		long result = (long)REG_RET(&regs);
		if (t->pending == CHDIR && !result) {
			text_drop(t->fs->cwd);
			t->fs->cwd = NULL;
		}
		REG_RET(&t->saved) = REG_RET(&regs);
		regs_set(t->tid, &t->saved);
		t->pending = NONE;
	}
	if (t->held >= 0) {
		close(t->held);
		t->held = -1;
	}
	resume(t->tid, PTRACE_CONT, 0);
}

static void on_new(struct task *parent, int event)
{
	unsigned long message;
	char path[64];
	ptrace(PTRACE_GETEVENTMSG, parent->tid, NULL, &message);
	pid_t tid = (pid_t)message;
	struct task *child = task_find(tid);
	if (!child)
		child = task_new(tid);
	bool thread = false;
	if (event == PTRACE_EVENT_CLONE) {
		snprintf(path, sizeof path, "%s%d/task/%d", proc, parent->tgid, tid);
		thread = !access(path, F_OK);
	}
	task_inherit(child, parent, thread);
	if (child->running)
		resume(tid, PTRACE_CONT, 0);
	resume(parent->tid, PTRACE_CONT, 0);
}

static void on_stop(pid_t tid, int status)
{
	int number = WSTOPSIG(status), event = status >> 16;
	struct task *t = task_find(tid);
	if (!t)
		t = task_new(tid);
	switch (event) {
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE: on_new(t, event); return;
	case PTRACE_EVENT_SECCOMP: on_seccomp(t); return;
	case PTRACE_EVENT_EXEC: {
		unsigned long former = 0;
		ptrace(PTRACE_GETEVENTMSG, tid, NULL, &former);
		if ((pid_t)former != tid) {
			task_follow_exec(t, (pid_t)former);
			t = task_find(tid);
		}
		exec_done(t);
		break;
	}
	case PTRACE_EVENT_STOP:
		if (!t->known) {
			t->running = true; /* as soon as its parent has reported it */
			return;
		}
		if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) {
			resume(tid, PTRACE_LISTEN, 0);
			return;
		}
		break;
	case 0:
		if (number == (SIGTRAP | 0x80)) {
			on_exit_of_call(t);
			return;
		}
		resume(tid, PTRACE_CONT, number);
		return;
	}
	resume(tid, PTRACE_CONT, 0);
}

static int serve(void)
{
	int status, code = 125;
	for (;;) {
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			break;
		lock();
		if (WIFSTOPPED(status)) {
			on_stop(tid, status);
		} else {
			struct task *t = task_find(tid);
			if (t)
				task_forget(t);
			if (tid == first) {
				code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
				first = 0;
			}
			if (!t)
				door_next(!first); /* a process is at the door, or an orphan has ended */
			if (!first)
				tasks_kill();
		}
		unlock();
	}
	return stopped ? 128 + stopped : code;
}

/* Starting. */

/* SRC:DST[:ro]; the last ":/" is between the two, so that a source may have colons. */
static void add_bind(char *argument)
{
	char whole[2 * PATH_MAX];
	snprintf(whole, sizeof whole, "%s", argument);
	size_t len = strlen(argument);
	bool readonly = len > 3 && !strcmp(argument + len - 3, ":ro");
	char *dst = NULL;
	if (readonly)
		argument[len - 3] = 0;
	for (char *at = argument; (at = strstr(at, ":/")); at++)
		dst = at;
	if (!dst)
		fail("--bind wants SRC:DST or SRC:DST:ro", 0);
	*dst++ = 0;
	int bad = mount_make(dst, argument, readonly);
	if (bad)
		fail(whole, -bad);
}

static void usage(void)
{
	puts("usage: tracer [--root DIR] [--bind SRC:DST[:ro]]... [--ids [--user UID:GID] [--groups GID,...]]\n"
	     "              [--owners FILE] [--lower DIR]... [--work DIR] [--cow] [--changes FILE]\n"
	     "              [--read-only] [--network none] [--hostname NAME] [--cwd DIR] [--door FD]\n"
	     "              [--lost CODE] [--begun FD] [--spare FILE] [--probe] -- COMMAND...\n"
	     "       tracer --inside CHANNEL [--shown] [--cwd DIR] [--lost CODE] [--user UID:GID] [--network none] -- COMMAND...\n"
	     "       tracer --process PID --channel CHANNEL --owners FILE [--upper DIR] [--user UID:GID] [--groups GID,...]\n"
	     "              [--init] [--door FD] [--spare FILE]");
}

/* The state that the first process starts with. */
static struct task *start;

/* Trace a process that waits for a byte, and perhaps for its directory, then hands over its listener and waits
 * again. */
int task_trace(pid_t pid, int channel, int directory, struct task *as)
{
	task_inherit(task_new(pid), as, false);
	long follow = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
		      PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP;
	int listener = -EPIPE, bad = ptrace(PTRACE_SEIZE, pid, NULL, (void *)follow) ? -errno : 0;
	if (!bad && child_send(channel, directory) && (listener = child_receive(channel)) >= 0 &&
	    notify_start(listener) && write(channel, "", 1) == 1)
		return 0;
	if (bad)
		task_forget(task_find(pid));
	return bad ? bad : listener < 0 ? listener : -EPIPE;
}

/* Trace the first process; return its exit code. */
static int trace(pid_t pid, int channel, int directory, int door)
{
	first = pid;
	struct sigaction action = {.sa_handler = on_signal};
	for (const int *s = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGQUIT, 0}; *s; s++)
		sigaction(*s, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	int bad = task_trace(pid, channel, directory, start);
	if (bad) {
		kill(pid, SIGKILL);
		fail("the process cannot be traced here, or ended early", -bad);
	}
	close(channel);
	if (door >= 0 && !door_open(door, start))
		fail("the door for more processes", errno);
	return serve();
}

/* Enter the root of a process that has its own, with our /proc as the working directory. Return the directory of the
 * table, which is not in that root. */
static int stand_in(pid_t pid, char **table)
{
	char path[64];
	char *slash = options.owners ? strrchr(options.owners, '/') : NULL;
	if (!slash)
		fail("--process wants the path of --owners", 0);
	*table = strdup(slash + 1);
	int here = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	*slash = 0;
	int directory = open(options.owners, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof path, "/proc/%d/root", pid);
	root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (here < 0 || directory < 0 || root_fd < 0 || fchdir(root_fd) || chroot(".") || fchdir(here))
		fail("the root of the process", errno);
	proc = "";
	if (!stat("/proc", &st))
		proc_dev = st.st_dev;
	return directory;
}

/* Open the directory of the file that may be spent. */
static void take_spare(char *path)
{
	char *slash = strrchr(path, '/');
	if (!slash)
		return;
	options.spare_name = slash + 1;
	*slash = 0;
	options.spare = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Remove that file after something could not be written; return whether there is more room now. */
static bool spend(void) { return options.spare >= 0 && !unlinkat(options.spare, options.spare_name, 0); }

/* Without the table that could not be written, nobody takes the one from before the process for it. */
static int save_owners(const char *file, int upper)
{
	int bad = owners_save(file, upper);
	if (bad && spend())
		bad = owners_save(file, upper);
	if (bad)
		unlink(file);
	return bad;
}

static int save_touched(const char *file)
{
	int bad = touched_save(file);
	return bad && spend() ? touched_save(file) : bad;
}

/* Load the table of owners and save a copy of it as it was, or save two: one of the upper directory, and one of all
 * files, wherever they are mounted. `directory` is the working directory meanwhile. */
static void keep_owners(int directory, const char *table, bool load, int upper)
{
	char all[NAME_MAX + 8];
	snprintf(all, sizeof all, "%s.%s", table, load ? "before" : "mounts");
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), bad = 0;
	if (fchdir(directory) || (load && (bad = owners_load(table))) || (bad = save_owners(all, -1)) ||
	    (!load && (bad = save_owners(table, upper))) || fchdir(here))
		fail(table, bad ? -bad : errno);
	close(here);
}

/* Return the only child of a process, according to our own /proc. */
static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
	FILE *file = fopen(path, "re");
	if (!file || fscanf(file, "%d", &child) != 1)
		fail(path, errno);
	fclose(file);
	return child;
}

/* Return the process for which the namespaces were made, seen from outside of them: their pid 1, or its child. */
static int attend(pid_t pid, int channel, const char *upper_path, bool init, int door)
{
	char byte, *table;
	int status, upper = -1;
	if (read(channel, &byte, 1) != 1) { /* it has reported why */
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	if (init)
		pid = child_of(pid);
	if (upper_path && (upper = open(upper_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		fail(upper_path, errno);
	int directory = stand_in(pid, &table);
	struct statfs fs_of_root;
	options.births = !statfs("/", &fs_of_root) && fs_of_root.f_type != OVERLAYFS_SUPER_MAGIC;
	keep_owners(directory, table, true, -1);
	int code = trace(pid, channel, AT_FDCWD, door);
	keep_owners(directory, table, false, upper);
	return code;
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{"root", 1, 0, 'r'}, {"bind", 1, 0, 'b'}, {"ids", 0, 0, 'i'}, {"user", 1, 0, 'u'}, {"groups", 1, 0, 'g'},
		{"owners", 1, 0, 'o'}, {"cow", 0, 0, 'c'}, {"lower", 1, 0, 'l'}, {"work", 1, 0, 'W'},
		{"read-only", 0, 0, 'R'}, {"network", 1, 0, 'n'}, {"hostname", 1, 0, 'H'}, {"changes", 1, 0, 'C'},
		{"cwd", 1, 0, 'w'}, {"process", 1, 0, 'P'}, {"channel", 1, 0, 'h'}, {"inside", 1, 0, 'I'},
		{"upper", 1, 0, 'U'}, {"init", 0, 0, 'N'}, {"lost", 1, 0, 'L'},
		{"door", 1, 0, 'd'}, {"shown", 0, 0, 's'}, {"begun", 1, 0, 'B'}, {"spare", 1, 0, 'S'}, {"probe", 0, 0, 'p'}, {"verbose", 0, 0, 'v'}, {"help", 0, 0, '?'}, {0},
	};
	const char *cwd = "/", *groups = NULL, *root = "/", *upper = NULL;
	int process = 0, inside = -1, outside = -1, door = -1;
	struct statfs fs_of_root;
	int bad, option;
	char **binds = calloc((size_t)argc, sizeof *binds);
	int bind_count = 0;
	bool readonly = false, init = false;
	my_uid = getuid(), my_gid = getgid(), my_pid = getpid();
	options.work = options.begun = options.spare = -1;
	options.lost = 1;
	while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1)
		switch (option) {
		case 'r':
			options.paths = true;
			root = optarg;
			if ((bad = mounts_add("", optarg, false)))
				fail(optarg, -bad);
			break;
		case 'b': binds[bind_count++] = optarg; break;
		case 'i': options.ids = true; break;
		case 'u':
			options.uid = (uid_t)strtoul(optarg, &optarg, 10);
			options.gid = *optarg == ':' ? (gid_t)strtoul(optarg + 1, NULL, 10) : 0;
			break;
		case 'g': groups = optarg; break;
		case 'o': options.owners = optarg; break;
		case 'c': options.cow = true; break;
		case 'l':
			options.cow = true;
			if ((bad = lower_add(optarg)))
				fail(optarg, -bad);
			break;
		case 'W':
			if ((options.work = open(optarg, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
				fail(optarg, errno);
			break;
		case 'R': readonly = true; break;
		case 'n': options.offline = !strcmp(optarg, "none"); break;
		case 'H': options.hostname = optarg; break;
		case 'C': options.changes = optarg; break;
		case 'w': cwd = optarg; break;
		case 'L': options.lost = atoi(optarg); break;
		case 'P': process = atoi(optarg); break;
		case 'h': outside = atoi(optarg); break;
		case 'I': inside = atoi(optarg); break;
		case 'U': upper = optarg; break;
		case 'N': init = true; break;
		case 'd': door = atoi(optarg); break;
		case 's': options.paths = true; break;
		case 'B': options.begun = atoi(optarg); break;
		case 'S': take_spare(optarg); break;
		case 'p': return child_probe();
		case 'v': options.verbose = true; break;
		default: usage(); return 125;
		}
	struct rlimit limit, more;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (inside >= 0 && optind < argc) {
		options.ids = true;
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* the tracer need not be an ancestor */
		if (write(inside, "", 1) != 1)
			return 125;
		child_run(inside, cwd, argv + optind, &limit);
	}
	if (process)
		options.ids = true;
	if ((optind == argc && !process) || (!options.paths && !options.ids)) {
		usage();
		return 125;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (options.paths && (bad = mounts_ready()))
		fail("--root is missing", 0);
	if (options.paths && (bad = loader_open()))
		fail("the loader is not beside the tracer", -bad);
	/* overlayfs reports the time of the lower file until it is copied up. */
	options.births = !statfs(root, &fs_of_root) && fs_of_root.f_type != OVERLAYFS_SUPER_MAGIC;
	lower_ready();
	if (options.owners && !process && (bad = owners_load(options.owners)))
		fail(options.owners, -bad);
	mode_t mask = umask(0);
	for (int n = 0; n < bind_count; n++)
		add_bind(binds[n]);

	more = limit;
	more.rlim_cur = more.rlim_max;
	setrlimit(RLIMIT_NOFILE, &more);

	start = task_like(options.uid, options.gid, groups, mask);
	if (process)
		return attend(process, outside, upper, init, door);
	int directory = AT_FDCWD;
	if (options.paths) {
		struct where w;
		bad = path_make(cwd, true, true, true, &w);
		directory = bad ? -1 : openat(w.fd, w.rel, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (directory < 0) {
			char *reason = strerror(bad ? -bad : errno);
			fprintf(stderr, "chdir to the working directory \"%s\": %c%s\n", cwd, *reason | 32, reason + 1);
			return options.lost;
		}
		mount_of("", 0)->readonly = readonly;
	} else if (strcmp(cwd, "/") && chdir(cwd))
		fail(cwd, errno);

	int channel[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel))
		fail("socketpair", errno);
	pid_t pid = fork();
	if (pid < 0)
		fail("fork", errno);
	if (!pid) {
		close(channel[0]);
		umask(mask);
		child_run(channel[1], cwd, argv + optind, &limit);
	}
	close(channel[1]);
	if (options.begun >= 0)
		close(options.begun);
	int code = trace(pid, channel[0], directory, door);
	if (options.owners && (bad = save_owners(options.owners, -1)))
		fail(options.owners, -bad);
	if (options.changes && (bad = save_touched(options.changes)))
		fail(options.changes, -bad);
	if (lower_failed())
		fail("the root could not be made", -lower_failed());
	return code;
}
