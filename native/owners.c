/* The table of owners: those that files are shown with, by device and inode, and its file (see tracer.py). */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "tracer.h"

static struct owner *table;
static size_t capacity, used;

#define MAGIC "PBOWNER1"

struct record {
	uint32_t size, uid, gid, mode;
	uint64_t dev, ino, btime, rdev;
	uint32_t path_len, xattr_len, names, zero;
};

static size_t place_of(uint64_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ dev << 40) * 0x9E3779B97F4A7C15UL;
	return (size_t)(h >> 20) & (capacity - 1);
}

static struct owner *slot_of(uint64_t dev, uint64_t ino)
{
	size_t n = place_of(dev, ino);
	while (table[n].ino && (table[n].ino != ino || table[n].dev != dev))
		n = (n + 1) & (capacity - 1);
	return &table[n];
}

static int grow(size_t wanted)
{
	if (wanted * 2 <= capacity)
		return 0;
	struct owner *old = table;
	size_t old_capacity = capacity;
	for (capacity = capacity ? capacity : 1024; capacity < wanted * 2; capacity *= 2)
		;
	table = calloc(capacity, sizeof *table);
	if (!table)
		return -ENOMEM;
	for (size_t n = 0; n < old_capacity; n++)
		if (old[n].ino)
			*slot_of(old[n].dev, old[n].ino) = old[n];
	free(old);
	return 0;
}

uint64_t birth_of(const struct where *w)
{
	struct statx x;
	if (!options.births)
		return 0;
	if (syscall(SYS_statx, w->fd, w->rel, w->nofollow, STATX_BTIME, &x) || !(x.stx_mask & STATX_BTIME))
		return 0;
	return (uint64_t)x.stx_btime.tv_sec * 1000000000UL + x.stx_btime.tv_nsec;
}

static void clear(struct owner *o)
{
	for (struct xattr *next, *x = o->xattrs; x; x = next) {
		next = x->next;
		free(x->name);
		free(x);
	}
	o->xattrs = NULL;
	o->live = false;
}

/* `w` serves to check that it is still the same file, since inode numbers are reused; it may be NULL. */
struct owner *owner_find(const struct stat *st, const struct where *w)
{
	if (!used)
		return NULL;
	struct owner *o = slot_of(st->st_dev, st->st_ino);
	if (!o->ino || !o->live)
		return NULL;
	if (o->btime && w) {
		uint64_t birth = birth_of(w);
		if (birth && birth != o->btime) {
			clear(o);
			return NULL;
		}
	}
	return o;
}

struct owner *owner_make(const struct stat *st, const struct where *w)
{
	struct owner *o = owner_find(st, w);
	if (o || grow(used + 1))
		return o;
	o = slot_of(st->st_dev, st->st_ino);
	if (!o->ino)
		used++;
	*o = (struct owner){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.btime = w ? birth_of(w) : 0,
		.uid = st->st_uid == my_uid ? 0 : st->st_uid,
		.gid = st->st_gid == my_gid ? 0 : st->st_gid,
		.mode = NO_MODE,
		.live = true,
	};
	return o;
}

void owner_forget(const struct stat *st)
{
	struct owner *o = owner_find(st, NULL);
	if (o)
		clear(o);
}

static struct xattr *xattr_new(const char *name, size_t name_size, const void *value, size_t size, struct xattr *next)
{
	struct xattr *x = malloc(sizeof *x + size);
	if (!x)
		abort();
	x->name = strndup(name, name_size);
	x->size = (uint32_t)size;
	x->next = next;
	memcpy(x->value, value, size);
	return x;
}

/* The file was copied to another inode; the old one may belong to the store, where other names lead to it. */
void owner_copy(const struct stat *from, const struct stat *to, const struct where *w)
{
	struct owner *o = owner_find(from, NULL), *made;
	if (!o || !(made = owner_make(to, w)))
		return;
	o = owner_find(from, NULL); /* the table may have moved */
	made->uid = o->uid, made->gid = o->gid, made->mode = o->mode, made->rdev = o->rdev;
	for (struct xattr *x = o->xattrs; x; x = x->next)
		made->xattrs = xattr_new(x->name, strlen(x->name), x->value, x->size, made->xattrs);
}

/* Replace what the disk says by what the table says. */
void owner_show(struct stat *st, const struct where *w)
{
	struct owner *o = options.ids || options.cow ? owner_find(st, w) : NULL;
	if (options.cow && cow_shared(st, w)) {
		st->st_nlink = o && o->names ? o->names : 1;
		lazy_show(st);
	}
	if (options.cow && w && S_ISDIR(st->st_mode) && lower_waits(w->g))
		st->st_nlink = 1; /* as overlayfs reports it, so that nobody counts subdirectories by it */
	if (!options.ids)
		return;
	if (o) {
		st->st_uid = o->uid;
		st->st_gid = o->gid;
		if (o->mode != NO_MODE)
			st->st_mode = o->mode;
		if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
			st->st_rdev = o->rdev;
		return;
	}
	if (st->st_uid == my_uid)
		st->st_uid = 0;
	if (st->st_gid == my_gid)
		st->st_gid = 0;
}

/* Map a file of records, which are between `at` and `end`. An empty or a missing file has none. */
static int records_map(const char *file, char **at, char **end)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	*at = *end = NULL;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int bad = fstat(fd, &st) ? -errno : 0;
	char *data = bad || st.st_size < 8 ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (bad || st.st_size < 8)
		return bad ? bad : st.st_size ? -EINVAL : 0;
	if (data == MAP_FAILED)
		return -errno;
	if (memcmp(data, MAGIC, 8))
		return -EINVAL;
	*at = data + 8;
	*end = data + st.st_size;
	return 0;
}

/* Read the next record: return 1 and advance `at`, 0 at the end, or an error. */
static int record_next(char **at, char *end, struct record *r, char **path)
{
	if (*at >= end)
		return 0;
	if ((size_t)(end - *at) < sizeof *r)
		return -EINVAL;
	memcpy(r, *at, sizeof *r);
	if (r->size < sizeof *r || r->size > (size_t)(end - *at) ||
	    (uint64_t)r->path_len + r->xattr_len > r->size - sizeof *r)
		return -EINVAL;
	*path = *at + sizeof *r;
	*at += r->size;
	return 1;
}

/* Enter a record about a file into the table. */
static int record_apply(const struct record *r, const char *path, const struct stat *st, const struct where *w)
{
	const char *xattr = path + r->path_len, *end = xattr + r->xattr_len;
	struct owner *o = owner_make(st, w);
	if (!o)
		return -ENOMEM;
	o->uid = r->uid, o->gid = r->gid, o->mode = r->mode, o->rdev = r->rdev;
	o->names = r->names;
	if (r->ino)
		o->btime = r->btime;
	while (end - xattr >= 8) {
		uint32_t lengths[2];
		memcpy(lengths, xattr, 8);
		xattr += 8;
		if ((uint64_t)lengths[0] + lengths[1] > (size_t)(end - xattr))
			return -EINVAL;
		o->xattrs = xattr_new(xattr, lengths[0], xattr + lengths[0], lengths[1], o->xattrs);
		xattr += lengths[0] + lengths[1];
	}
	return 0;
}

int owners_load(const char *file)
{
	char *at, *end, *path;
	struct record r;
	int more, bad = records_map(file, &at, &end);
	struct task nobody = {.fs = &(struct fs){.root = text_new("")}, .tgid = 1};
	while (!bad && (more = record_next(&at, end, &r, &path))) {
		struct stat st = {.st_dev = r.dev, .st_ino = r.ino};
		struct where found = {.fd = root_fd, .nofollow = AT_SYMLINK_NOFOLLOW, .close = -1};
		char name[PATH_MAX];
		if (more < 0)
			return more;
		if (!r.ino) {
			if (r.path_len >= sizeof name)
				continue;
			memcpy(name, path, r.path_len);
			name[r.path_len] = 0;
			found.rel = name;
			if ((options.paths && path_walk(&nobody, "", name, 0, &found)) || look(&found, &st))
				continue;
		}
		bad = record_apply(&r, path, &st, r.ino ? NULL : &found);
	}
	return bad;
}

/* Tables of layers, by path. */

struct known {
	struct known *next;
	uint64_t hash;
	char *path;
	struct record record;
};

struct table {
	size_t slots;
	struct known **known;
};

/* Return the table of a layer; NULL if it has no entries. */
struct table *table_open(const char *file, int *bad)
{
	char *at, *end, *path, *start;
	struct record r;
	size_t count = 0;
	int more;
	*bad = records_map(file, &at, &end);
	start = at;
	while (!*bad && (more = record_next(&at, end, &r, &path)))
		if (more < 0)
			*bad = more;
		else
			count++;
	if (*bad || !count)
		return NULL;
	struct table *t = calloc(1, sizeof *t);
	struct known *all = calloc(count, sizeof *all);
	if (!t || !all || !(t->known = calloc(count, sizeof *t->known)))
		abort();
	t->slots = count;
	for (at = start; record_next(&at, end, &r, &path) > 0; all++) {
		*all = (struct known){.hash = hash_of(path, r.path_len), .path = path, .record = r};
		all->next = t->known[all->hash % count];
		t->known[all->hash % count] = all;
	}
	return t;
}

/* Enter what a layer's table says of `path` into ours, for the file at `w` that shows it. */
void table_apply(const struct table *t, const char *path, struct where *w)
{
	size_t len = strlen(path);
	uint64_t hash = hash_of(path, len);
	struct stat st;
	for (struct known *k = t ? t->known[hash % t->slots] : NULL; k; k = k->next)
		if (k->hash == hash && k->record.path_len == len && !memcmp(k->path, path, len)) {
			if (!look(w, &st) && !owner_find(&st, w))
				record_apply(&k->record, k->path, &st, w);
			return;
		}
}

static void write_record(FILE *out, const struct owner *o, uint64_t dev, uint64_t ino)
{
	struct record r = {
		.uid = o->uid, .gid = o->gid, .mode = o->mode, .dev = dev, .ino = ino, .btime = o->btime, .rdev = o->rdev,
		.names = o->names,
	};
	for (struct xattr *x = o->xattrs; x; x = x->next)
		r.xattr_len += 8 + (uint32_t)strlen(x->name) + x->size;
	uint32_t pad = (8 - r.xattr_len % 8) % 8;
	r.size = (uint32_t)sizeof r + r.xattr_len + pad;
	fwrite(&r, sizeof r, 1, out);
	for (struct xattr *x = o->xattrs; x; x = x->next) {
		uint32_t lengths[2] = {(uint32_t)strlen(x->name), x->size};
		fwrite(lengths, 8, 1, out);
		fwrite(x->name, lengths[0], 1, out);
		fwrite(x->value, lengths[1], 1, out);
	}
	fwrite("\0\0\0\0\0\0\0\0", pad, 1, out);
}

static int go(int *directory, const char *name)
{
	int fd = openat(*directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(*directory);
	*directory = fd;
	return 0;
}

/* overlayfs shows other inode numbers than those on the disk, so write the records of its upper directory with the
 * latter. However deep the trees are, only one directory of each is open at a time. */
static int save_upper(FILE *out, int *upper, int *shown)
{
	struct name {
		struct name *next;
		char name[];
	} *names = NULL;
	DIR *directory = fdopendir(openat(*upper, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (!directory)
		return -errno;
	for (struct dirent *entry; (entry = readdir(directory));) {
		struct stat disk, st;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    fstatat(*upper, entry->d_name, &disk, AT_SYMLINK_NOFOLLOW) ||
		    fstatat(*shown, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue; /* a name that was removed */
		struct owner *o = owner_find(&st, NULL);
		if (o)
			write_record(out, o, disk.st_dev, disk.st_ino);
		if (!S_ISDIR(disk.st_mode) || !S_ISDIR(st.st_mode))
			continue;
		struct name *name = malloc(sizeof *name + strlen(entry->d_name) + 1);
		if (!name)
			abort();
		strcpy(name->name, entry->d_name);
		name->next = names;
		names = name;
	}
	closedir(directory);
	int bad = 0;
	for (struct name *name = names, *next; name; name = next) {
		next = name->next;
		if (!bad && !(bad = go(upper, name->name)) && !(bad = go(shown, name->name)) &&
		    !(bad = save_upper(out, upper, shown)) && !(bad = go(upper, "..")))
			bad = go(shown, "..");
		free(name);
	}
	return bad;
}

int owners_save(const char *file, int upper)
{
	char part[PATH_MAX];
	int failed = 0;
	snprintf(part, sizeof part, "%s.part", file);
	FILE *out = fopen(part, "we");
	if (!out)
		return -errno;
	fwrite(MAGIC, 8, 1, out);
	if (upper >= 0 && used) {
		int disk = dup(upper), shown = dup(root_fd);
		failed = save_upper(out, &disk, &shown);
		close(disk);
		close(shown);
	} else if (upper < 0)
		for (size_t n = 0; n < capacity; n++)
			if (table[n].ino && table[n].live)
				write_record(out, &table[n], table[n].dev, table[n].ino);
	int bad = failed ? -EIO : ferror(out) ? -errno : 0;
	if (fclose(out) || (!bad && rename(part, file)))
		bad = -errno;
	return bad;
}
