/* module.c: looking things up in a Module. Names are compared as text: they come from files too. */
#include "ir/ir.h"

Module *module_new(Arena *arena)
{
	Module *m = NEW(arena, Module);
	m->arena = arena;
	return m;
}

Param *module_param(Module *m, const char *name)
{
	for (int i = 0; i < m->params.len; i++)
		if (!strcmp(m->params.at[i].name, name))
			return &m->params.at[i];
	return NULL;
}

const Setting *entry_setting(const Entry *e, const char *key)
{
	for (int i = 0; i < e->settings.len; i++)
		if (!strcmp(e->settings.at[i].key, key))
			return &e->settings.at[i];
	return NULL;
}

Graph *entry_graph(const Entry *e, const char *suffix)
{
	size_t n = strlen(e->name);
	for (int i = 0; i < e->graphs.len; i++) {
		const char *name = e->graphs.at[i]->name;
		if (!strncmp(name, e->name, n) && name[n] == '.' && !strcmp(name + n + 1, suffix))
			return e->graphs.at[i];
	}
	return NULL;
}

bool graph_is_function(const Graph *g)
{
	const char *dot = strrchr(g->name, '.');
	return !dot || strcmp(dot, ".forward") != 0;
}
