/* The table of owners: what files are believed to have, by device and inode, and its file (see tracer.py). */
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
	uint32_t path_len, xattr_len;
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

/* `w` tells whether it is still the same file, where a number was given to a new one; it may be NULL. */
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

/* The file was copied to another inode. */
void owner_move(const struct stat *from, const struct stat *to, const struct where *w)
{
	struct owner *o = owner_find(from, NULL);
	if (!o)
		return;
	struct owner copy = *o;
	o->xattrs = NULL;
	o->live = false;
	o = owner_make(to, w);
	if (o) {
		copy.dev = o->dev, copy.ino = o->ino, copy.btime = o->btime;
		*o = copy;
	}
}

/* Change what the disk says into what is believed. */
void owner_show(struct stat *st, const struct where *w)
{
	if (options.cow && cow_shared(st, w))
		st->st_nlink = cow_names(st);
	if (!options.ids)
		return;
	struct owner *o = owner_find(st, w);
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

int owners_load(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < 8) {
		close(fd);
		return st.st_size ? -EINVAL : 0;
	}
	char *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	close(fd);
	if (data == MAP_FAILED)
		return -errno;
	if (memcmp(data, MAGIC, 8))
		return -EINVAL;
	int bad = grow((size_t)st.st_size / 96 + 16);
	struct task nobody = {.fs = &(struct fs){.root = text_new("")}, .tgid = 1};
	for (char *at = data + 8, *end = data + st.st_size; !bad && at < end;) {
		struct record r;
		if ((size_t)(end - at) < sizeof r)
			return -EINVAL;
		memcpy(&r, at, sizeof r);
		if (r.size < sizeof r || r.size > (size_t)(end - at) || (uint64_t)r.path_len + r.xattr_len > r.size - sizeof r)
			return -EINVAL;
		char *path = at + sizeof r, *xattr = path + r.path_len, *xattr_end = xattr + r.xattr_len;
		at += r.size;
		struct stat file_st = {.st_dev = r.dev, .st_ino = r.ino};
		struct where *w = NULL, found;
		if (!r.ino) {
			char name[PATH_MAX];
			if (r.path_len >= sizeof name)
				continue;
			memcpy(name, path, r.path_len);
			name[r.path_len] = 0;
			if (options.paths ? path_walk(&nobody, "", name, 0, &found) : 0)
				continue;
			if (!options.paths) {
				found = (struct where){.fd = root_fd, .rel = name, .nofollow = AT_SYMLINK_NOFOLLOW, .close = -1};
			}
			if (look(&found, &file_st))
				continue;
			w = &found;
		}
		struct owner *o = owner_make(&file_st, w);
		if (!o)
			return -ENOMEM;
		if (!w)
			o->btime = r.btime;
		o->uid = r.uid, o->gid = r.gid, o->mode = r.mode, o->rdev = r.rdev;
		while (xattr_end - xattr >= 8) {
			uint32_t lengths[2];
			memcpy(lengths, xattr, 8);
			xattr += 8;
			if ((uint64_t)lengths[0] + lengths[1] > (size_t)(xattr_end - xattr))
				return -EINVAL;
			struct xattr *x = malloc(sizeof *x + lengths[1]);
			x->name = strndup(xattr, lengths[0]);
			x->size = lengths[1];
			memcpy(x->value, xattr + lengths[0], lengths[1]);
			x->next = o->xattrs;
			o->xattrs = x;
			xattr += lengths[0] + lengths[1];
		}
	}
	munmap(data, (size_t)st.st_size);
	return bad;
}

static void write_record(FILE *out, const struct owner *o, uint64_t dev, uint64_t ino)
{
	struct record r = {
		.uid = o->uid, .gid = o->gid, .mode = o->mode, .dev = dev, .ino = ino, .btime = o->btime, .rdev = o->rdev,
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

/* What overlayfs shows has other numbers than what it wrote: of all that is in its upper directory, tell by those.
 * No more is open than one directory of each, however deep they are. */
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
			continue; /* a name that was taken away */
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
	bool bad = ferror(out) || failed;
	if (fclose(out) || bad || rename(part, file))
		return -EIO;
	return 0;
}
