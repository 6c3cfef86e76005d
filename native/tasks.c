/* Threads and processes, and what they share. */
#include <signal.h>

#include "tracer.h"

#define DEFAULT_CAPABILITIES 0xa80425fbUL /* Docker's */
#define SLOTS 1024
static struct task *tasks[SLOTS];
static int count;

struct text *text_new(const char *s)
{
	struct text *t = malloc(sizeof *t + strlen(s) + 1);
	if (!t)
		abort();
	t->refs = 1;
	strcpy(t->s, s);
	return t;
}

struct text *text_hold(struct text *t)
{
	if (t)
		t->refs++;
	return t;
}

void text_drop(struct text *t)
{
	if (t && !--t->refs)
		free(t);
}

static void fs_drop(struct fs *fs)
{
	if (fs && !--fs->refs) {
		text_drop(fs->cwd);
		text_drop(fs->root);
		free(fs);
	}
}

struct task *task_find(pid_t tid)
{
	struct task *t = tasks[tid % SLOTS];
	while (t && t->tid != tid)
		t = t->next;
	return t;
}

struct task *task_new(pid_t tid)
{
	struct task *t = calloc(1, sizeof *t);
	if (!t)
		abort();
	t->tid = t->tgid = tid;
	t->held = -1;
	t->next = tasks[tid % SLOTS];
	tasks[tid % SLOTS] = t;
	count++;
	return t;
}

static struct groups *groups_of(const char *list)
{
	struct groups *g = calloc(1, sizeof *g + 1024 * sizeof(gid_t));
	if (!g)
		abort();
	g->refs = 1;
	while (list && *list && g->count < 1024) {
		char *end;
		g->ids[g->count++] = (gid_t)strtoul(list, &end, 10);
		list = *end ? end + 1 : end;
	}
	return g;
}

/* Return the state of a user's process that nobody inside has started. */
struct task *task_like(uid_t uid, gid_t gid, const char *groups, unsigned umask)
{
	struct task *t = calloc(1, sizeof *t);
	struct fs *fs = calloc(1, sizeof *fs);
	if (!t || !fs)
		abort();
	*fs = (struct fs){.refs = 1, .umask = umask, .root = text_new("")};
	t->fs = fs;
	t->tgid = 1;
	t->creds = (struct creds){
		.uid = uid, .euid = uid, .suid = uid, .fsuid = uid, .gid = gid, .egid = gid, .sgid = gid, .fsgid = gid,
		.bounding = DEFAULT_CAPABILITIES, .groups = groups_of(groups)};
	if (!uid)
		t->creds.permitted = t->creds.effective = DEFAULT_CAPABILITIES;
	return t;
}

/* Give a new process or thread what it inherits from the one that made it. */
void task_inherit(struct task *child, struct task *parent, bool thread)
{
	child->known = true;
	if (thread) {
		child->tgid = parent->tgid;
		child->fs = parent->fs;
		child->fs->refs++;
	} else {
		child->fs = malloc(sizeof *child->fs);
		if (!child->fs)
			abort();
		*child->fs = *parent->fs;
		child->fs->refs = 1;
		text_hold(child->fs->cwd);
		text_hold(child->fs->root);
	}
	creds_copy(&child->creds, &parent->creds);
	child->exe = text_hold(parent->exe);
}

void task_forget(struct task *t)
{
	struct task **at = &tasks[t->tid % SLOTS];
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	count--;
	task_free(t);
}

void task_free(struct task *t)
{
	fs_drop(t->fs);
	text_drop(t->exe);
	text_drop(t->path);
	if (t->creds.groups && !--t->creds.groups->refs)
		free(t->creds.groups);
	if (t->next_creds.groups && !--t->next_creds.groups->refs)
		free(t->next_creds.groups);
	free(t->order);
	if (t->held >= 0)
		close(t->held);
	free(t);
}

/* A thread other than the first has executed a program, and takes the first one's number. */
void task_follow_exec(struct task *t, pid_t former)
{
	struct task *old = task_find(former);
	if (!old || old == t)
		return;
	pid_t tid = t->tid;
	task_forget(t);
	struct task **at = &tasks[former % SLOTS];
	while (*at != old)
		at = &(*at)->next;
	*at = old->next;
	old->tid = old->tgid = tid;
	old->next = tasks[tid % SLOTS];
	tasks[tid % SLOTS] = old;
}

void tasks_kill(void)
{
	for (int n = 0; n < SLOTS; n++)
		for (struct task *t = tasks[n]; t; t = t->next)
			if (t->tgid > 0)
				kill(t->tgid, SIGKILL);
}

int tasks_count(void)
{
	return count;
}
