/* choice.h: a column that a sink is given, and what it is called there. */
#ifndef FRESHET_CONNECTORS_CHOICE_H
#define FRESHET_CONNECTORS_CHOICE_H

struct shape_choice {
    const char *column;
    const char *name;
};

#endif
