/* Starting programs: find the file, its interpreter and its ids, and instruct the loader. */
#include <fcntl.h>

#include "calls.h"
#include "order.h"

static int loader_fd = -1;

/* The loader is beside the tracer. */
int loader_open(void)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
	if (n < 0)
		return -errno;
	path[n] = 0;
	strcpy(strrchr(path, '/') + 1, "loader");
	loader_fd = open(path, O_RDONLY | O_CLOEXEC);
	return loader_fd < 0 ? -errno : 0;
}

struct program {
	int fd;
	struct where w;
	struct stat shown;
	ssize_t size;
	char head[4096];
	char host[PATH_MAX + 64];
	char interpreter[PATH_MAX];
	struct image image;
	unsigned phnum, phent;
};

static int program_open(struct call *c, int dirfd, const char *path, int flags, struct program *p)
{
	p->fd = -1;
	int bad = path_at_string(c, dirfd, path, flags, &p->w);
	if (!bad)
		bad = look_shown(&p->w, &p->shown);
	if (!bad && S_ISLNK(p->shown.st_mode))
		bad = -ELOOP;
	if (!bad && !S_ISREG(p->shown.st_mode))
		bad = -EACCES;
	if (!bad)
		bad = options.ids ? may(c->t, &p->shown, 1) : faccessat(p->w.fd, p->w.rel, X_OK, 0) ? -errno : 0;
	if (!bad)
		bad = lazy_need(&p->shown);
	if (!bad) {
		p->fd = openat(p->w.fd, p->w.rel, O_RDONLY | O_CLOEXEC);
		if (p->fd < 0 && errno == EACCES && make_accessible(&p->w))
			p->fd = openat(p->w.fd, p->w.rel, O_RDONLY | O_CLOEXEC);
		if (p->fd < 0)
			bad = -errno;
	}
	where_done(&p->w);
	if (bad)
		return bad;
	p->size = pread(p->fd, p->head, sizeof p->head - 1, 0);
	if (p->size < 0)
		return -errno;
	p->head[p->size] = 0;
	if (p->w.mount && (p->w.nofollow || p->w.mount->file))
		path_host(&p->w, p->host, sizeof p->host);
	if (!p->host[0] || strlen(p->host) >= PATH_MAX)
		snprintf(p->host, sizeof p->host, "/proc/%d/fd/%d", my_pid, p->fd);
	return 0;
}

static int program_parse(struct program *p)
{
	Elf64_Ehdr *e = (void *)p->head;
	Elf64_Phdr table[64], *ph;
	struct image *image = &p->image;
	uint64_t high = 0;
	uint64_t page = (uint64_t)getpagesize();
	if ((size_t)p->size < sizeof *e || memcmp(e->e_ident, ELFMAG, SELFMAG) || e->e_ident[EI_CLASS] != ELFCLASS64 ||
	    e->e_machine != MACHINE || (e->e_type != ET_EXEC && e->e_type != ET_DYN) ||
	    e->e_phentsize != sizeof(Elf64_Phdr) || !e->e_phnum || e->e_phnum > 64)
		return -ENOEXEC;
	ssize_t size = (ssize_t)(e->e_phnum * sizeof *ph);
	if (pread(p->fd, table, (size_t)size, (off_t)e->e_phoff) != size)
		return -ENOEXEC;
	*image = (struct image){.fixed = e->e_type == ET_EXEC, .low = UINT64_MAX, .entry = e->e_entry};
	p->phnum = e->e_phnum;
	p->phent = e->e_phentsize;
	p->interpreter[0] = 0;
	for (ph = table; ph < table + e->e_phnum; ph++) {
		if (ph->p_type == PT_INTERP) {
			if (ph->p_filesz < 2 || ph->p_filesz > sizeof p->interpreter ||
			    pread(p->fd, p->interpreter, ph->p_filesz, (off_t)ph->p_offset) != (ssize_t)ph->p_filesz)
				return -ENOEXEC;
			p->interpreter[ph->p_filesz - 1] = 0;
		}
		if (ph->p_type == PT_PHDR)
			image->phdr = ph->p_vaddr;
		if (ph->p_type != PT_LOAD || !ph->p_memsz)
			continue;
		if (image->count == SEGMENTS)
			return -ENOEXEC;
		image->segments[image->count++] = (struct segment){
			.vaddr = ph->p_vaddr, .offset = ph->p_offset, .filesz = ph->p_filesz, .memsz = ph->p_memsz,
			.prot = (ph->p_flags & PF_R ? 1 : 0) | (ph->p_flags & PF_W ? 2 : 0) | (ph->p_flags & PF_X ? 4 : 0),
		};
		if (ph->p_vaddr < image->low)
			image->low = ph->p_vaddr;
		if (ph->p_vaddr + ph->p_memsz > high)
			high = ph->p_vaddr + ph->p_memsz;
		if (ph->p_align > image->align)
			image->align = ph->p_align;
		if (!image->phdr && e->e_phoff >= ph->p_offset && e->e_phoff < ph->p_offset + ph->p_filesz)
			image->phdr = ph->p_vaddr + e->e_phoff - ph->p_offset;
	}
	if (!image->count)
		return -ENOEXEC;
	image->low &= ~(page - 1);
	image->span = ((high + page - 1) & ~(page - 1)) - image->low;
	return 0;
}

struct writer {
	char *data;
	size_t size, room;
};

static uint32_t append(struct writer *w, const char *s)
{
	size_t n = strlen(s) + 1;
	if (w->size + n > w->room) {
		w->room = (w->size + n) * 2;
		w->data = realloc(w->data, w->room);
	}
	memcpy(w->data + w->size, s, n);
	w->size += n;
	return (uint32_t)(w->size - n);
}

#define WORDS 12
struct words {
	int count;
	char *words[WORDS];
};

/* `#!`: the words in front of the arguments. */
static int script(struct program *p, struct words *words, const char *path, char *next)
{
	char *line = p->head + 2, *end = memchr(line, '\n', (size_t)p->size - 2);
	if (!end)
		end = p->head + (p->size > 255 ? 255 : p->size);
	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = 0;
	line += strspn(line, " \t");
	if (!*line)
		return -ENOEXEC;
	char *argument = line + strcspn(line, " \t");
	if (*argument)
		*argument++ = 0;
	argument += strspn(argument, " \t");
	if (words->count + 3 > WORDS)
		return -ELOOP;
	/* This replaces argv[0], or the name of the previous script. */
	int more = *argument ? 3 : 2, keep = words->count ? words->count - 1 : 0;
	if (words->count)
		free(words->words[0]);
	memmove(words->words + more, words->words + (words->count ? 1 : 0), (size_t)keep * sizeof *words->words);
	words->count = more + keep;
	words->words[0] = strdup(line);
	if (*argument)
		words->words[1] = strdup(argument);
	words->words[more - 1] = strdup(path);
	strcpy(next, line);
	return 0;
}

static int build(struct call *c, struct program *p, struct program *interpreter, struct words *words, const char *name,
		 struct creds *creds)
{
	struct order order = {.phnum = p->phnum, .phent = p->phent, .page = (uint32_t)getpagesize()};
	struct writer out = {.data = calloc(1, sizeof order), .size = sizeof order, .room = sizeof order};
	order.program = p->image;
	order.program.path = append(&out, p->host);
	if (interpreter) {
		order.interpreter = interpreter->image;
		order.interpreter.path = append(&out, interpreter->host);
	}
	order.execfn = append(&out, name);
	order.words = (uint32_t)words->count;
	for (int n = 0; n < words->count; n++)
		order.word[n] = append(&out, words->words[n]);
	const char *base = strrchr(name, '/');
	snprintf(order.comm, sizeof order.comm, "%s", base ? base + 1 : name);
	order.uid = options.ids ? creds->uid : getuid(), order.euid = options.ids ? creds->euid : geteuid();
	order.gid = options.ids ? creds->gid : getgid(), order.egid = options.ids ? creds->egid : getegid();
	order.secure = creds->uid != creds->euid || creds->gid != creds->egid;
	order.size = out.size;
	memcpy(out.data, &order, sizeof order);
	free(c->t->order);
	c->t->order = out.data;
	c->t->order_size = out.size;
	return 0;
}

static long begin(struct call *c, int dirfd, uint64_t pointer, int flags, int path_argument)
{
	char path[PATH_MAX], name[PATH_MAX + 32], next[PATH_MAX];
	static struct program p, interpreter; /* under the lock */
	struct words words = {0};
	long n = mem_string(c->t->tid, path, pointer, sizeof path);
	if (n < 0)
		return n;
	snprintf(name, sizeof name, "%s", path);
	if (dirfd != AT_FDCWD && path[0] != '/')
		snprintf(name, sizeof name, *path ? "/dev/fd/%d/%s" : "/dev/fd/%d", dirfd, path);
	memset(&p.host, 0, sizeof p.host);
	int bad = program_open(c, dirfd, path, flags, &p);
	if (!options.paths) {
		/* The kernel finds the program; only the ids matter here. */
		struct stat plain = p.shown;
		if (bad == -EACCES && !is_root(c->t))
			return bad;
		if (bad || !memcmp(p.head, "#!", 2))
			plain.st_mode = 0;
		if (p.fd >= 0)
			close(p.fd);
		emulate_exec(c, &c->t->next_creds, &plain);
		c->action = GO;
		c->t->pending = EXEC;
		return 0;
	}
	strcpy(next, name);
	while (!bad && p.size > 2 && p.head[0] == '#' && p.head[1] == '!') {
		char script_path[PATH_MAX];
		snprintf(script_path, sizeof script_path, "%s", words.count ? words.words[0] : name);
		bad = script(&p, &words, script_path, next);
		close(p.fd);
		p.fd = -1;
		memset(&p.host, 0, sizeof p.host);
		if (!bad)
			bad = program_open(c, AT_FDCWD, next, FOLLOW, &p);
	}
	if (!bad)
		bad = program_parse(&p);
	interpreter.fd = -1;
	if (!bad && p.interpreter[0]) {
		memset(&interpreter.host, 0, sizeof interpreter.host);
		bad = program_open(c, AT_FDCWD, p.interpreter, FOLLOW, &interpreter);
		if (!bad && (bad = program_parse(&interpreter)) == -ENOEXEC)
			bad = -ELIBBAD;
	}
	if (!bad) {
		char link[64];
		uint64_t at;
		struct task *t = c->t;
		emulate_exec(c, &t->next_creds, &p.shown);
		build(c, &p, interpreter.fd >= 0 ? &interpreter : NULL, &words, name, &t->next_creds);
		text_drop(t->path);
		if (p.w.nofollow || (p.w.mount && p.w.mount->file))
			t->path = text_new(p.w.g);
		else { /* a file without a name */
			char target[PATH_MAX] = "", g[ROOM];
			snprintf(link, sizeof link, "/proc/self/fd/%d", p.fd);
			ssize_t got = readlink(link, target, sizeof target - 1);
			(void)got;
			t->path = text_new(path_to_guest(target, g) ? g : target);
		}
		snprintf(link, sizeof link, "/proc/%d/fd/%d", my_pid, loader_fd);
		at = (REG_SP(c->regs) - 256) & ~15UL;
		t->saved = *c->regs;
		if (mem_write(t->tid, at, link, strlen(link) + 1))
			bad = -EFAULT;
		else {
			*reg_arg(c->regs, path_argument) = at;
			if (path_argument)
				*reg_arg(c->regs, 4) = 0; /* flags of execveat */
			t->pending = EXEC;
			c->action = CHANGED;
			if (strstr(p.host, "/proc/") == p.host) { /* opened by the loader through us */
				t->held = p.fd;
				p.fd = -1;
			}
		}
	}
	if (p.fd >= 0)
		close(p.fd);
	if (interpreter.fd >= 0)
		close(interpreter.fd);
	for (int i = 0; i < words.count; i++)
		free(words.words[i]);
	return bad;
}

long do_execve(struct call *c)
{
	return begin(c, AT_FDCWD, c->a[0], FOLLOW, 0);
}

long do_execveat(struct call *c)
{
	int flags = (int)c->a[4];
	int walk = (flags & AT_EMPTY_PATH ? EMPTY : 0) | (flags & AT_SYMLINK_NOFOLLOW ? 0 : FOLLOW);
	return begin(c, (int)c->a[0], c->a[1], walk, 1);
}

/* The process runs a new program: the loader, which still needs its order, or the one that the kernel found. */
void exec_done(struct task *t)
{
	if (t->pending != EXEC)
		return;
	t->pending = NONE;
	creds_copy(&t->creds, &t->next_creds);
	if (!options.paths)
		return;
	text_drop(t->exe);
	t->exe = t->path;
	t->path = NULL;
	regs_t regs;
	if (!t->order || regs_get(t->tid, &regs))
		return;
	uint64_t at = (REG_SP(&regs) - t->order_size - 256) & ~15UL;
	mem_write(t->tid, at, t->order, t->order_size);
	REG_ORDER(&regs) = at;
	regs_set(t->tid, &regs);
	free(t->order);
	t->order = NULL;
	/* `held` stays open until the loader has opened it: until the next exec, or the end. */
}
